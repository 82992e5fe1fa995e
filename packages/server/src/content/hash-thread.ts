import { createHash, type Hash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import type { HashReply, HashRequest } from './hashing.ts';

const hashes = new Map<number, Hash>();
const reply = (message: HashReply) => parentPort?.postMessage(message);

parentPort?.on('message', (request: HashRequest) => {
  const { id } = request;
  if (request.op === 'begin') {
    hashes.set(id, createHash(request.algorithm));
    return;
  }
  if (request.op === 'dispose') {
    hashes.delete(id);
    return;
  }
  const hash = hashes.get(id);
  if (hash === undefined) throw new Error('a hash was used after its end');
  if (request.op === 'update') {
    hash.update(request.bytes.subarray(0, request.length));
    reply({ id });
  } else {
    reply({ id, digest: hash.copy().digest('hex') });
  }
});
