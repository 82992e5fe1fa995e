import { Connection, type Origin, requestHead, requireStatus } from './connection.ts';
import { BlobSource, type Descriptor, putManifest, type UploadStyle, uploadBlob } from './push.ts';

/** What a generator is to do. */
export type Job = { readonly origin: Origin } & (
  | {
      readonly kind: 'requests';
      readonly method: 'GET' | 'HEAD';
      readonly path: string;
      readonly connections: number;
      readonly seconds: number;
    }
  | { readonly kind: 'downloads'; readonly path: string; readonly size: number; readonly connections: number; readonly count: number }
  | {
      readonly kind: 'uploads';
      readonly repository: string;
      readonly size: number;
      readonly connections: number;
      readonly count: number;
      readonly style: UploadStyle;
    }
  | {
      readonly kind: 'images';
      readonly repository: string;
      readonly layers: number;
      readonly size: number;
      readonly clients: number;
      readonly seconds: number;
      readonly style: UploadStyle;
    }
  | {
      readonly kind: 'background';
      readonly repository: string;
      readonly path: string;
      readonly size: number;
      readonly downloads: number;
      readonly uploads: number;
      /** Bytes a second of each; as fast as it goes if absent. */
      readonly pace: number | undefined;
    }
);

/** What came of it: requests, bytes or images done in how many seconds. */
export interface Outcome {
  readonly work: number;
  readonly seconds: number;
  readonly p99Ms?: number;
}

/** A load whose content is made and whose connections are open. */
export interface Prepared {
  run(): Promise<Outcome>;
  /** Ends what has no end of its own. */
  stop?(): void;
}

type Of<K extends Job['kind']> = Extract<Job, { readonly kind: K }>;

const WARM_UP_SECONDS = 0.3;
const CONFIG_BYTES = 2048;

/** Does all that must not be measured. */
export async function prepare(job: Job): Promise<Prepared> {
  switch (job.kind) {
    case 'requests':
      return await requests(job);
    case 'downloads':
      return await downloads(job);
    case 'uploads':
      return await uploads(job);
    case 'images':
      return await images(job);
    case 'background':
      return await background(job);
  }
}

function open(origin: Origin, count: number): Promise<Connection[]> {
  return Promise.all(Array.from({ length: count }, () => Connection.open(origin)));
}

/** Runs a task on all connections and gives the time until the last is through. */
async function timed(connections: readonly Connection[], task: (connection: Connection) => Promise<void>): Promise<number> {
  const started = performance.now();
  await Promise.all(connections.map(task));
  return (performance.now() - started) / 1000;
}

async function requests({ origin, method, path, connections: count, seconds }: Of<'requests'>): Promise<Prepared> {
  const connections = await open(origin, count);
  const request = [requestHead(origin, method, path, { Accept: 'application/vnd.oci.image.manifest.v1+json, */*' })];
  const options = { isHead: method === 'HEAD' };
  async function during(length: number): Promise<Outcome> {
    const latencies: number[] = [];
    const started = performance.now();
    const end = started + length * 1000;
    await Promise.all(
      connections.map(async (connection) => {
        for (let before = performance.now(); before < end; ) {
          requireStatus(await connection.request(request, options), 200, `${method} ${path}`);
          const after = performance.now();
          if (after < end) latencies.push(after - before);
          before = after;
        }
      }),
    );
    return { work: latencies.length, seconds: length, p99Ms: percentile(latencies, 0.99) };
  }
  await during(WARM_UP_SECONDS);
  return { run: () => during(seconds) };
}

function percentile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

async function downloads({ origin, path, size, connections: many, count }: Of<'downloads'>): Promise<Prepared> {
  const connections = await open(origin, many);
  let left = count;
  return {
    async run() {
      const seconds = await timed(connections, async (connection) => {
        while (left-- > 0) await download(connection, origin, path, size);
      });
      return { work: count * size, seconds };
    },
  };
}

async function download(connection: Connection, origin: Origin, path: string, size: number, pace?: number): Promise<void> {
  const reply = requireStatus(await connection.request([requestHead(origin, 'GET', path)], { pace }), 200, 'GET of a blob');
  if (reply.bodyBytes !== size) throw new Error(`a blob of ${size} bytes came with ${reply.bodyBytes}`);
}

async function uploads({ origin, repository, size, connections: many, count, style }: Of<'uploads'>): Promise<Prepared> {
  const source = new BlobSource(size, style);
  const connections = await open(origin, many);
  let left = count;
  return {
    async run() {
      const seconds = await timed(connections, async (connection) => {
        while (left-- > 0) await uploadBlob(connection, origin, repository, source, { style });
      });
      return { work: count * size, seconds };
    },
  };
}

async function images({ origin, repository, layers, size, clients, seconds, style }: Of<'images'>): Promise<Prepared> {
  const config = new BlobSource(CONFIG_BYTES, style);
  const layer = new BlobSource(size, style);
  const connections = await open(origin, clients);
  let tag = 0;
  let done = 0;
  async function push(connection: Connection): Promise<void> {
    const pushed: Descriptor[] = [];
    for (const source of [config, ...Array.from({ length: layers }, () => layer)]) {
      pushed.push(await uploadBlob(connection, origin, repository, source, { style, check: true }));
    }
    await putManifest(connection, origin, repository, `t${process.pid}-${++tag}`, pushed);
  }
  return {
    async run() {
      const end = performance.now() + seconds * 1000;
      const taken = await timed(connections, async (connection) => {
        for (; performance.now() < end; done++) await push(connection);
      });
      return { work: done, seconds: taken };
    },
  };
}

/** Large transfers, one after the other on each connection, until told to stop. */
async function background({ origin, repository, path, size, downloads: out, uploads: into, pace }: Of<'background'>): Promise<Prepared> {
  const source = new BlobSource(size, 'put');
  const connections = await open(origin, out + into);
  let stopping = false;
  let work = 0;
  return {
    async run() {
      const seconds = await timed(connections, async (connection) => {
        const isUpload = connections.indexOf(connection) < into;
        for (; !stopping; work += size) {
          if (isUpload) await uploadBlob(connection, origin, repository, source, { style: 'put', pace });
          else await download(connection, origin, path, size, pace);
        }
      });
      return { work, seconds };
    },
    stop: () => {
      stopping = true;
    },
  };
}
