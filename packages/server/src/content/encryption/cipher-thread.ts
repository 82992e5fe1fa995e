import { parentPort } from 'node:worker_threads';
import type { CipherReply, CipherRequest } from './cipher-threads.ts';
import { loadNativeAead } from './native-aead.ts';
import { runRecords } from './records.ts';

const aead = await loadNativeAead();
const buffers = new Map<number, SharedArrayBuffer>();

function viewOf(number: number, at: number): Uint8Array {
  const buffer = buffers.get(number);
  if (buffer === undefined) throw new Error('a buffer was used before it was sent');
  return new Uint8Array(buffer, at);
}

parentPort?.on('message', (request: CipherRequest) => {
  if (request.op === 'buffer') {
    buffers.set(request.number, request.buffer);
    return;
  }
  const { id, job, from, fromAt, to, toAt } = request;
  let reply: CipherReply = { id };
  try {
    runRecords(job, viewOf(from, fromAt), viewOf(to, toAt), aead);
  } catch (error) {
    reply = { id, error: (error as Error).message };
  }
  parentPort?.postMessage(reply);
});
