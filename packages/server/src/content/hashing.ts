import { createHash, type Hash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import type { DigestAlgorithm } from '@entrepot/oci';
import { SLAB_BYTES } from './slabs.ts';

/** A digest that grows as bytes arrive. Calls are made one after the other. */
export interface StreamHash {
  readonly algorithm: DigestAlgorithm;
  /** Takes the first `length` bytes; they may change again once it resolves. */
  update(bytes: Uint8Array, length: number): Promise<void>;
  /** Digest of all so far, as `algorithm:hex`; more may follow. */
  digest(): Promise<string>;
  /** Frees the state; the hash cannot be used afterwards. */
  dispose(): void;
}

/** What threads and hashers tell each other. */
export type HashRequest =
  | { readonly op: 'begin'; readonly id: number; readonly algorithm: DigestAlgorithm }
  | { readonly op: 'slab'; readonly slab: number; readonly bytes: Uint8Array }
  | { readonly op: 'update'; readonly id: number; readonly bytes: Uint8Array | number; readonly length: number }
  | { readonly op: 'digest'; readonly id: number }
  | { readonly op: 'dispose'; readonly id: number };
export type HashReply = { readonly id: number; readonly digest?: string; readonly error?: string };

/** Hashes on the calling thread: for what is small. */
export function createInlineHash(algorithm: DigestAlgorithm): StreamHash {
  const hash: Hash = createHash(algorithm);
  return {
    algorithm,
    async update(bytes, length) {
      hash.update(bytes.subarray(0, length));
    },
    digest: async () => `${algorithm}:${hash.copy().digest('hex')}`,
    dispose() {},
  };
}

/** Threads that hash large uploads beside the event loop. Started at first need. */
export class HashThreads {
  readonly #count: number;
  readonly #threads = new Map<number, Worker>();
  readonly #pending = new Map<number, { resolve: (digest: string) => void; reject: (error: Error) => void }>();
  /** Large slabs, which are few and live as long as the process, and the threads that know them by number. */
  readonly #slabs = new Map<Uint8Array, { number: number; known: Set<Worker> }>();
  #nextId = 1;

  constructor(count: number) {
    this.#count = count;
  }

  create(algorithm: DigestAlgorithm): StreamHash {
    const id = this.#nextId++;
    const thread = this.#thread(id);
    const ask = (request: HashRequest) =>
      new Promise<string>((resolve, reject) => {
        if (this.#threads.get(id % this.#count) !== thread) return reject(new Error('a hash thread ended'));
        this.#pending.set(id, { resolve, reject });
        thread.postMessage(request);
      });
    thread.postMessage({ op: 'begin', id, algorithm } satisfies HashRequest);
    return {
      algorithm,
      update: async (bytes, length) => {
        await ask({ op: 'update', id, bytes: this.#shareOnce(thread, bytes), length });
      },
      digest: async () => `${algorithm}:${await ask({ op: 'digest', id })}`,
      dispose: () => thread.postMessage({ op: 'dispose', id } satisfies HashRequest),
    };
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#threads.values(), (thread) => thread.terminate()));
  }

  /** Sending shared memory anew each time would make both sides collect garbage all the time: a slab is sent once. */
  #shareOnce(thread: Worker, bytes: Uint8Array): Uint8Array | number {
    if (bytes.length !== SLAB_BYTES) return bytes;
    let slab = this.#slabs.get(bytes);
    if (slab === undefined) {
      slab = { number: this.#slabs.size, known: new Set() };
      this.#slabs.set(bytes, slab);
    }
    if (!slab.known.has(thread)) {
      slab.known.add(thread);
      thread.postMessage({ op: 'slab', slab: slab.number, bytes } satisfies HashRequest);
    }
    return slab.number;
  }

  #thread(id: number): Worker {
    const slot = id % this.#count;
    let thread = this.#threads.get(slot);
    if (thread === undefined) {
      thread = new Worker(new URL('./hash-thread.ts', import.meta.url), {
        execArgv: [],
        resourceLimits: { maxYoungGenerationSizeMb: 4 },
      });
      thread.unref();
      thread.on('message', ({ id: answered, digest, error }: HashReply) => {
        const waiting = this.#pending.get(answered);
        this.#pending.delete(answered);
        if (error === undefined) waiting?.resolve(digest ?? '');
        else waiting?.reject(new Error(error));
      });
      const lost = (cause: Error) => {
        this.#threads.delete(slot);
        for (const [waitingId, waiting] of this.#pending) {
          if (waitingId % this.#count !== slot) continue;
          this.#pending.delete(waitingId);
          waiting.reject(new Error('a hash thread ended', { cause }));
        }
      };
      thread.on('error', lost);
      this.#threads.set(slot, thread);
    }
    return thread;
  }
}
