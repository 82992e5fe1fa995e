import { createHash, type Hash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import type { HashReply, HashRequest } from './hashing.ts';

const hashes = new Map<number, Hash>();
const slabs = new Map<number, Uint8Array>();
const reply = (message: HashReply) => parentPort?.postMessage(message);

parentPort?.on('message', (request: HashRequest) => {
  if (request.op === 'slab') {
    slabs.set(request.slab, request.bytes);
    return;
  }
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
  if (hash === undefined) {
    reply({ id, error: 'a hash was used after its end' }); // to die of it would end everybody's hashes on this thread
  } else if (request.op === 'update') {
    const bytes = typeof request.bytes === 'number' ? slabs.get(request.bytes) : request.bytes;
    if (bytes === undefined) throw new Error('a slab was used before it was sent');
    hash.update(bytes.subarray(0, request.length));
    reply({ id });
  } else {
    reply({ id, digest: hash.copy().digest('hex') });
  }
});
