import cluster, { type Worker } from 'node:cluster';
import { AggregatorRegistry } from 'prom-client';
import { type App, freeLeases, openDatabase } from './app.ts';
import { type Config, createLog, newId } from './platform/index.ts';

/** What the first process tells a worker about itself. */
export interface WorkerRole {
  readonly config: Config;
  readonly leader: boolean;
  readonly holder: string;
}

/** Workers to the first process, and its answer to a request for metrics. */
export type WorkerMessage =
  | { readonly type: 'ready'; readonly port: number }
  | { readonly type: 'failed'; readonly error: string }
  | { readonly type: 'metrics'; readonly id: number };
export type PrimaryMessage = { readonly type: 'metrics'; readonly id: number; readonly text: string | undefined };

/** A worker that ends is replaced: soon at first, later where it goes on ending. */
const RESTART_FIRST_MS = 100;
const RESTART_MOST_MS = 30_000;
/** A worker that ran for so long had nothing wrong with its start. */
const STEADY_MS = 60_000;

/** Runs the registry in several processes that share the port, and watches over them. */
export async function startWorkers(config: Config, count: number): Promise<App> {
  const log = createLog(config.logLevel);
  const sums = new AggregatorRegistry();
  cluster.setupPrimary({
    exec: new URL('./worker.ts', import.meta.url).pathname,
    args: [],
    execArgv: ['--max-semi-space-size=4'],
    serialization: 'advanced',
  });
  const workers = new Set<Worker>();
  let stopping = false;
  let settings = config;

  /** Starts one worker and gives its port; what happens to it afterwards is told to `onExit`. */
  function start(leader: boolean, onExit: () => void): Promise<number> {
    return new Promise((resolve, reject) => {
      const role: WorkerRole = { config: settings, leader, holder: newId() };
      const worker = cluster.fork({ ENTREPOT_WORKER: JSON.stringify(role) });
      workers.add(worker);
      worker.on('message', (message: WorkerMessage) => {
        // prom-client talks on the same channel.
        switch (message.type) {
          case 'ready':
            return resolve(message.port);
          case 'failed':
            return reject(new Error(message.error));
          case 'metrics':
            return void answerMetrics(worker, message.id);
        }
      });
      worker.once('exit', (code: number | null, signal: string | null) => {
        workers.delete(worker);
        reject(new Error(`a worker ended (${code ?? signal}) before it was ready`));
        if (stopping) return;
        log.error({ pid: worker.process.pid, code, signal }, 'a worker ended');
        void release(role.holder).finally(onExit);
      });
    });
  }

  /** Starts a worker again and again for as long as this process runs. */
  function keep(leader: boolean): Promise<number> {
    let pause = RESTART_FIRST_MS;
    const run = (): Promise<number> => {
      const begun = performance.now();
      return start(leader, () => {
        if (performance.now() - begun > STEADY_MS) pause = RESTART_FIRST_MS;
        setTimeout(() => {
          if (!stopping) run().catch((error: unknown) => log.error({ err: error }, 'a worker could not be replaced'));
        }, pause);
        pause = Math.min(pause * 2, RESTART_MOST_MS);
      });
    };
    return run();
  }

  /** What a worker held is free at once, not when its leases lapse. */
  async function release(holder: string): Promise<void> {
    try {
      const database = await openDatabase(config, { checkpoint: false });
      await freeLeases(database, holder).finally(() => database.close());
    } catch (error) {
      log.error({ err: error }, 'the leases of a worker that ended could not be freed; they will lapse');
    }
  }

  async function answerMetrics(worker: Worker, id: number): Promise<void> {
    // One that ends while it is asked never answers; the asking worker then gives its own.
    const text = await sums.clusterMetrics().catch(() => undefined);
    if (worker.isConnected()) worker.send({ type: 'metrics', id, text } satisfies PrimaryMessage);
  }

  async function stop(): Promise<void> {
    stopping = true;
    await Promise.all(
      Array.from(workers, (worker) => {
        const gone = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
        worker.process.kill('SIGTERM');
        return gone;
      }),
    );
  }

  try {
    // The first takes the port, which may be any free one; the others share it.
    const port = await keep(true);
    settings = { ...config, listen: config.listen.replace(/:[0-9]+$/, `:${port}`) };
    await Promise.all(Array.from({ length: count - 1 }, () => keep(false)));
    let stopped: Promise<void> | undefined;
    return { port, stop: () => (stopped ??= stop()) };
  } catch (error) {
    await stop();
    throw error;
  }
}
