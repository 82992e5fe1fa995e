import { closeSync, openSync, readSync } from 'node:fs';
import { Worker } from 'node:worker_threads';

const CHECK_MS = 1000;
/** Pages of log that start a checkpoint, 4 MiB. */
const PAGES = 1024;
// Where the WAL index keeps the number of frames in the log, and how many of them are in the database (sqlite.org/walformat.html, section 2).
const MAX_FRAME = 16;
const BACKFILLED = 96;

/** Keeps the write-ahead log short, off the request path: looks once a second, works in a thread that ends afterwards. */
export class Checkpointer {
  readonly #path: string;
  readonly #fd: number;
  readonly #timer: NodeJS.Timeout;
  #running: Worker | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(`${path}-shm`, 'r');
    this.#timer = setInterval(() => this.#look(), CHECK_MS);
    this.#timer.unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running?.terminate();
    closeSync(this.#fd);
  }

  #look(): void {
    if (this.#running || this.#pending() < PAGES) return;
    const worker = new Worker(new URL('./checkpoint-thread.ts', import.meta.url), { workerData: this.#path });
    worker.unref();
    this.#running = worker;
    // Disk trouble shows up, and is reported, where requests meet it; the next look tries again.
    worker.on('error', () => undefined);
    worker.once('exit', () => {
      this.#running = undefined;
    });
  }

  #pending(): number {
    const index = Buffer.alloc(BACKFILLED + 4);
    readSync(this.#fd, index, 0, index.length, 0);
    // The index is in the byte order of the machine.
    const view = new Uint32Array(index.buffer, index.byteOffset, index.length / 4);
    return (view[MAX_FRAME / 4] ?? 0) - (view[BACKFILLED / 4] ?? 0);
  }
}
