import { spawnSync } from 'node:child_process';
import { measureHostile } from './hostile.ts';
import { Connection } from './load/connection.ts';
import type { Job, Outcome } from './load/jobs.ts';
import { Load } from './load/load.ts';
import { BlobSource, type Descriptor, putManifest, type UploadStyle, uploadBlob } from './load/push.ts';
import { originOf, type Server, type Side } from './peers.ts';
import { measureTokens } from './tokens.ts';

/** Figures of one round, by their name. */
export type Measures = Readonly<Record<string, number>>;

/** What is to be reached: a ratio to a peer, or a value of our own where no peer is named. */
export interface Goal {
  readonly measure: string;
  readonly peer?: Side;
  readonly atLeast?: number;
  readonly atMost?: number;
}

export interface Row {
  readonly name: string;
  readonly goals: readonly Goal[];
  /** Options of the command line; the same registry without them is its peer. */
  readonly options?: readonly string[];
  /** Fills a fresh server once, before the rounds. */
  prepare?(server: Server): Promise<Content>;
  /** Undefined: the row starts the server itself, once each round. */
  measure?(server: Server, content: Content): Promise<Measures>;
}

/** What was pushed for a row to work on. */
interface Content {
  readonly tag: string;
  readonly manifest: string;
  readonly blob: Descriptor;
  readonly path: string;
}

/** nginx has but a file. */
export const NGINX_CONTENT: Content = { tag: '', manifest: '', blob: { digest: '', size: 256 << 20 }, path: '/blob' };

const REPOSITORY = 'bench/work';
const PEER: Side = 'docker-registry';
const CONNECTIONS = 16;
const SECONDS = 2;
const SMALL = 16 * 1024;
export const LARGE = 256 << 20;
const IDLE_MS = 3000;

export const ROWS: readonly Row[] = [
  requests('manifest GET by tag', 'GET', ({ tag }) => `manifests/${tag}`, 15),
  requests('manifest GET by digest', 'GET', ({ manifest }) => `manifests/${manifest}`, 15),
  requests('manifest HEAD', 'HEAD', ({ tag }) => `manifests/${tag}`, 15),
  requests('blob HEAD', 'HEAD', ({ blob }) => `blobs/${blob.digest}`, 15),
  requests('16 KiB blob GET', 'GET', ({ blob }) => `blobs/${blob.digest}`, 20),
  downloads(1, 8),
  downloads(8, 16),
  downloads(64, 64),
  uploads('put', 1, 2, 1.8),
  uploads('patch', 1, 2, 1.8),
  uploads('put', 4, 4, 1.5),
  uploads('patch', 4, 4, 1.5),
  images(64, 'put', 5),
  images(64, 'patch', 5),
  images(1024, 'put', 3),
  images(1024, 'patch', 3),
  mixed(undefined),
  mixed(100),
  encrypted(downloads(1, 8)),
  encrypted(downloads(8, 16)),
  encrypted(uploads('put', 1, 2, 1)),
  encrypted(images(64, 'put', 1)),
  {
    name: 'hostile manifests',
    goals: [{ measure: 'loop delay p99 ms', atMost: 100 }],
    measure: async (server) => ({ 'loop delay p99 ms': await measureHostile(server, REPOSITORY) }),
  },
  {
    name: 'bearer tokens',
    goals: [{ measure: 'with token, of anonymous', atLeast: 0.9 }, { measure: 'requests/s' }, { measure: 'tokens/s' }],
    prepare: (server) => fill(server, SMALL),
    measure: (server, { tag }) =>
      measureTokens(server, REPOSITORY, tag, async (job) => {
        const { outcome } = await run(server, job);
        return outcome.work / outcome.seconds;
      }),
  },
  {
    name: 'start',
    goals: [
      { measure: 'ready ms', atMost: 1000 },
      { measure: 'idle MiB', atMost: 120 },
    ],
  },
];

/** The row that starts servers: how long it took, and what the server holds when nothing happens. */
export async function measureStart(server: Server): Promise<Measures> {
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
  return { 'ready ms': server.readyMs, 'idle MiB': server.processes?.residentMiB() ?? Number.NaN };
}

function requests(name: string, method: 'GET' | 'HEAD', pathOf: (content: Content) => string, atLeast: number): Row {
  return {
    name,
    goals: [
      { measure: 'requests/s', peer: PEER, atLeast },
      { measure: 'p99 ms', peer: PEER, atMost: 0.1 },
    ],
    prepare: (server) => fill(server, SMALL),
    async measure(server, content) {
      const origin = await originOf(server, REPOSITORY);
      const path = `/v2/${REPOSITORY}/${pathOf(content)}`;
      const { outcome } = await run(server, { kind: 'requests', origin, method, path, connections: CONNECTIONS, seconds: SECONDS });
      return { 'requests/s': outcome.work / outcome.seconds, 'p99 ms': outcome.p99Ms ?? Number.NaN };
    },
  };
}

function downloads(connections: number, count: number): Row {
  const more: Goal[] = connections === 8 ? [{ measure: 'MB/s', peer: 'nginx', atLeast: 1 }] : [];
  const memory: Goal[] = connections === 64 ? [{ measure: 'peak MiB', atMost: 200 }] : [];
  return {
    name: `256 MiB GET, ${connections} at once`,
    goals: [
      { measure: 'MB/s', peer: PEER, atLeast: 1.3 },
      ...more,
      { measure: 'CPU s/GB', peer: PEER, atMost: 1 },
      ...(memory.length > 0 ? memory : [{ measure: 'peak MiB', peer: PEER }]),
    ],
    prepare: (server) => fill(server, LARGE),
    async measure(server, { path, blob }) {
      const origin = await originOf(server, REPOSITORY);
      return transfer(await run(server, { kind: 'downloads', origin, path, size: blob.size, connections, count }));
    },
  };
}

function uploads(style: UploadStyle, connections: number, count: number, atLeast: number): Row {
  return {
    name: `256 MiB ${style.toUpperCase()}, ${connections} at once`,
    goals: [
      { measure: 'MB/s', peer: PEER, atLeast },
      { measure: 'CPU s/GB', peer: PEER },
      { measure: 'peak MiB', atMost: 200 },
    ],
    async measure(server) {
      const origin = await originOf(server, REPOSITORY);
      const job: Job = { kind: 'uploads', origin, repository: REPOSITORY, size: LARGE, connections, count, style };
      return transfer(await run(server, job));
    },
  };
}

/** The same with encryption at rest, beside the registry without it. */
function encrypted(row: Row): Row {
  const [speed] = row.goals;
  const goals: Goal[] = [
    { measure: speed?.measure ?? '', peer: 'plain', atLeast: 0.6 },
    ...row.goals.slice(1).flatMap(({ measure, peer }) => (peer === 'nginx' ? [] : [{ measure, peer: 'plain' as const }])),
  ];
  return { ...row, name: `${row.name}, encrypted`, options: ['--encryption', 'file'], goals };
}

function transfer({ outcome, cpu, peak }: Ran): Measures {
  return { 'MB/s': outcome.work / outcome.seconds / 1e6, 'CPU s/GB': cpu / (outcome.work / 1e9), 'peak MiB': peak };
}

function images(kib: number, style: UploadStyle, atLeast: number): Row {
  return {
    name: `images of 4 × ${kib} KiB, ${style === 'put' ? 'POST+PUT' : 'POST+PATCH+PUT'}`,
    goals: [{ measure: 'images/s', peer: PEER, atLeast }],
    async measure(server) {
      const origin = await originOf(server, REPOSITORY);
      const job = { kind: 'images', repository: REPOSITORY, layers: 4, size: kib * 1024, clients: 8, seconds: SECONDS, style } as const;
      const { outcome } = await run(server, { ...job, origin });
      return { 'images/s': outcome.work / outcome.seconds };
    },
  };
}

/** Manifests while four connections pull and one pushes large blobs, as fast as the server lets them or at so many MB/s each. */
function mixed(pace: number | undefined): Row {
  return {
    name: `manifest GET while 4 pull, 1 pushes ${pace ? `at ${pace} MB/s` : 'at full speed'}`,
    goals: [
      { measure: 'requests/s', peer: PEER, atLeast: 15 },
      { measure: 'p99 ms', peer: PEER, atMost: 0.1 },
      { measure: 'beside MB/s', peer: PEER },
    ],
    prepare: (server) => fill(server, LARGE),
    async measure(server, { tag, path, blob }) {
      const origin = await originOf(server, REPOSITORY);
      const large = {
        kind: 'background',
        repository: REPOSITORY,
        path,
        size: blob.size,
        downloads: 4,
        uploads: 1,
        pace: pace && pace * 1e6,
      } as const;
      settleDisk(server, { keep: true });
      const background = await Load.prepare({ ...large, origin });
      const transfers = background.run();
      try {
        const manifest = `/v2/${REPOSITORY}/manifests/${tag}`;
        const job = { kind: 'requests', method: 'GET', path: manifest, connections: CONNECTIONS, seconds: SECONDS } as const;
        const load = await Load.prepare({ ...job, origin });
        const outcome = await load.run();
        background.stop();
        const beside = await transfers;
        return {
          'requests/s': outcome.work / outcome.seconds,
          'p99 ms': outcome.p99Ms ?? Number.NaN,
          'beside MB/s': beside.work / beside.seconds / 1e6,
        };
      } finally {
        background.stop();
      }
    },
  };
}

interface Ran {
  readonly outcome: Outcome;
  readonly cpu: number;
  readonly peak: number;
}

/** Runs a load and counts what the server used meanwhile. */
async function run(server: Server, job: Job): Promise<Ran> {
  if (job.kind === 'uploads') settleDisk(server, { keep: false });
  else if (job.kind === 'images') settleDisk(server, { keep: true });
  const load = await Load.prepare(job);
  server.processes?.resetPeak();
  const before = server.processes?.cpuSeconds() ?? Number.NaN;
  const outcome = await load.run();
  const after = server.processes?.cpuSeconds() ?? Number.NaN;
  return { outcome, cpu: after - before, peak: server.processes?.peakMiB() ?? Number.NaN };
}

/** Neither side shall write back what the other left. */
function settleDisk(server: Server, { keep }: { keep: boolean }): void {
  if (!keep) server.forgetLargeBlobs();
  spawnSync('sync');
}

/** Pushes one blob of a size and a manifest of five small ones. */
async function fill(server: Server, size: number): Promise<Content> {
  const origin = await originOf(server, REPOSITORY);
  const connection = await Connection.open(origin);
  try {
    const push = (source: BlobSource) => uploadBlob(connection, origin, REPOSITORY, source, { style: 'put' });
    const part = new BlobSource(1024, 'put');
    const parts = [await push(part), await push(part), await push(part), await push(part), await push(part)];
    const manifest = await putManifest(connection, origin, REPOSITORY, 'latest', parts);
    const blob = await push(new BlobSource(size, 'put'));
    return { tag: 'latest', manifest, blob, path: `/v2/${REPOSITORY}/blobs/${blob.digest}` };
  } finally {
    connection.close();
  }
}
