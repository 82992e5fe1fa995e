import { Worker } from 'node:worker_threads';
import { SLAB_BYTES } from '../slabs.ts';
import { DamagedBlob, SEALED_BYTES } from './format.ts';
import { type RecordsJob, runRecords } from './records.ts';

/** What threads and callers tell each other. */
export type CipherRequest =
  | { readonly op: 'buffer'; readonly number: number; readonly buffer: SharedArrayBuffer }
  | {
      readonly op: 'run';
      readonly id: number;
      readonly job: RecordsJob;
      readonly from: number;
      readonly fromAt: number;
      readonly to: number;
      readonly toAt: number;
    };
export type CipherReply = { readonly id: number; readonly error?: string };

/** Full records that are worked on at once: those of one large slab, and one more that began before it. */
export const BATCH = SLAB_BYTES / 65_536 + 1;
/** Buffers of sealed records in use at once in one process, 9 MiB in all; who finds none waits. */
const BUFFERS = 16;

/**
 * Seals and opens records on threads beside the event loop, from and to memory that all share; what is little, or lies in
 * other memory, on the calling thread, as the way there and back would take longer. Threads start at first need.
 */
export class CipherThreads {
  readonly #count: number;
  readonly #threads: (Worker | undefined)[];
  readonly #known = new WeakMap<Worker, Set<number>>();
  readonly #pending = new Map<number, { thread: Worker; resolve: () => void; reject: (error: Error) => void }>();
  /** Shared buffers, which are few and live as long as the process, by number: sent once to each thread. */
  readonly #numbers = new Map<SharedArrayBuffer, number>();
  readonly #free: Uint8Array[] = [];
  readonly #waiting: ((buffer: Uint8Array) => void)[] = [];
  #made = 0;
  #nextId = 1;

  constructor(count: number) {
    this.#count = count;
    this.#threads = Array.from({ length: count }, () => undefined);
  }

  /** A buffer for `BATCH` sealed records; has to be given back. */
  async take(): Promise<Uint8Array> {
    const free = this.#free.pop();
    if (free) return free;
    if (this.#made < BUFFERS) {
      this.#made++;
      return new Uint8Array(new SharedArrayBuffer(BATCH * SEALED_BYTES));
    }
    return await new Promise((resolve) => this.#waiting.push(resolve));
  }

  give(buffer: Uint8Array): void {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(buffer);
    else this.#free.push(buffer);
  }

  /** Does a job; throws DamagedBlob where a record is not what was sealed. */
  async run(job: RecordsJob, from: Uint8Array, to: Uint8Array): Promise<void> {
    const [source, target] = [sharedOf(from), sharedOf(to)];
    if (job.count < 2 || source === undefined || target === undefined) return runRecords(job, from, to);
    const id = this.#nextId++;
    const thread = this.#thread(id % this.#count);
    const request: CipherRequest = {
      ...{ op: 'run', id, job },
      ...{ from: this.#share(thread, source), fromAt: from.byteOffset, to: this.#share(thread, target), toAt: to.byteOffset },
    };
    await new Promise<void>((resolve, reject) => {
      this.#pending.set(id, { thread, resolve, reject });
      thread.postMessage(request);
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.flatMap((thread) => (thread ? [thread.terminate()] : [])));
  }

  #share(thread: Worker, buffer: SharedArrayBuffer): number {
    let number = this.#numbers.get(buffer);
    if (number === undefined) {
      number = this.#numbers.size;
      this.#numbers.set(buffer, number);
    }
    const known = this.#known.get(thread);
    if (known && !known.has(number)) {
      known.add(number);
      thread.postMessage({ op: 'buffer', number, buffer } satisfies CipherRequest);
    }
    return number;
  }

  #thread(slot: number): Worker {
    const running = this.#threads[slot];
    if (running) return running;
    const thread = new Worker(new URL('./cipher-thread.ts', import.meta.url), {
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    });
    thread.unref();
    this.#known.set(thread, new Set());
    thread.on('message', ({ id, error }: CipherReply) => {
      const waiting = this.#pending.get(id);
      this.#pending.delete(id);
      if (error === undefined) waiting?.resolve();
      else waiting?.reject(new DamagedBlob(error));
    });
    const lost = (cause?: Error) => {
      if (this.#threads[slot] === thread) this.#threads[slot] = undefined;
      for (const [id, waiting] of this.#pending) {
        if (waiting.thread !== thread) continue;
        this.#pending.delete(id);
        waiting.reject(new Error('a cipher thread ended', { cause }));
      }
    };
    thread.on('error', lost);
    thread.on('exit', () => lost());
    this.#threads[slot] = thread;
    return thread;
  }
}

/** Memory that threads may share: large slabs and the buffers of this file. */
function sharedOf({ buffer }: Uint8Array): SharedArrayBuffer | undefined {
  return buffer instanceof SharedArrayBuffer && buffer.byteLength >= SLAB_BYTES ? buffer : undefined;
}
