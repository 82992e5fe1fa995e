import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { Histogram } from './histogram.ts';

const LATENCY_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const JOB_STATES = ['waiting', 'running', 'done', 'dead', 'cancelled'];
const JOB_BUCKETS = [0.01, 0.1, 1, 10, 60, 600, 3600];
/** Of prom-client's own metrics, those whose names Prometheus' linter accepts. */
const DEFAULTS = ['process_cpu_seconds_total', 'process_resident_memory_bytes', 'process_open_fds', 'process_start_time_seconds'];
const EVENT_LOOP = [
  'nodejs_eventloop_lag_seconds',
  'nodejs_eventloop_lag_p50_seconds',
  'nodejs_eventloop_lag_p99_seconds',
  'nodejs_eventloop_lag_max_seconds',
];

/** Records seconds, or bytes, without looking labels up. */
export type Observe = (value: number) => void;

interface Sources {
  /** Uploads begun and neither finished nor given up. */
  uploadsOpen(): Promise<number>;
  jobs(): Promise<readonly { readonly state: string; readonly jobs: number }[]>;
  /** Events that the slowest consumer has still to see. */
  outboxBacklog(): Promise<number>;
  /** What garbage collection has still to do; since when, in milliseconds since 1970. */
  collection(): Promise<{
    readonly links: number;
    readonly blobs: number;
    readonly left: number;
    readonly oldest: number | undefined;
    readonly now: number;
  }>;
  /** Of each kind of audit sink: how far behind, and what is set aside. */
  auditSinks(): Promise<readonly { readonly kind: string; readonly backlog: number; readonly parked: number }[]>;
  /** Bytes of each tier as last counted; undefined where there is but one. */
  tiers?(): Promise<readonly { readonly tier: string; readonly bytes: number; readonly blobs: number }[]>;
  /** What is in quarantine, and when scrub was last through with everything, in milliseconds. */
  storage(): Promise<{ readonly damagedBlobs: number; readonly damagedManifests: number; readonly scrubbedAt: number | null }>;
}

export interface Metrics {
  readonly registry: Registry;
  /** Latency of one route class and method; look it up once, observe often. */
  request(routeClass: string, method: string): Observe;
  countStatus(routeClass: string, status: number): void;
  readonly bytesIn: Observe;
  readonly bytesOut: Observe;
  /** Time of one kind of work in the blob store or the database. */
  store(operation: string): Observe;
  database(operation: string): Observe;
  readonly transfers: { start(direction: 'upload' | 'download'): void; end(direction: 'upload' | 'download'): void };
  /** How a run of a job ended and how long it took. */
  job(kind: string, outcome: string, seconds: number): void;
  /** A delivery to an audit sink of a kind failed. */
  sinkFailure(kind: string): void;
  /** Garbage collection has taken away links or objects, so many bytes of them, or has failed to. */
  collected(what: 'links' | 'blobs' | 'bytes' | 'failures', count: number): void;
  /** A blob of so many bytes was moved to a tier. */
  tierMoved(to: 'hot' | 'cold', bytes: number): void;
  /** A client was given a blob from a tier. */
  tierRead(tier: 'hot' | 'cold' | 'archived'): void;
  /** What is counted only when metrics are read; the same in every process. */
  watch(sources: Sources): void;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 10 });
  for (const { name } of registry.getMetricsAsArray()) {
    if (!DEFAULTS.includes(name) && !EVENT_LOOP.includes(name)) registry.removeSingleMetric(name);
  }
  // Several processes: the worst of them counts, not their average.
  for (const name of EVENT_LOOP) Object.assign(registry.getSingleMetric(name) ?? {}, { aggregator: 'max' });
  const registers = [registry];
  const latency = new Histogram({
    name: 'entrepot_http_request_duration_seconds',
    help: 'Time from request head to the last byte handed over, by class of route and method',
    labelNames: ['class', 'method'],
    buckets: LATENCY_BUCKETS,
  });
  const statuses = new Map<string, { readonly labels: { class: string; status: string }; count: number }>();
  // Counted plainly, and handed to the library only when somebody reads: it looks labels up at each step.
  new Counter({
    name: 'entrepot_http_responses_total',
    help: 'Responses by class of route and status',
    labelNames: ['class', 'status'],
    registers,
    collect() {
      this.reset();
      for (const { labels, count } of statuses.values()) this.inc(labels, count);
    },
  });
  const moved = { in: 0, out: 0 };
  new Counter({
    name: 'entrepot_blob_bytes_total',
    help: 'Bytes of blobs received and sent',
    labelNames: ['direction'],
    registers,
    collect() {
      this.reset();
      for (const direction of ['in', 'out'] as const) this.inc({ direction }, moved[direction]);
    },
  });
  const storeTime = new Histogram({
    name: 'entrepot_store_duration_seconds',
    help: 'Time of operations in the blob store',
    labelNames: ['operation'],
    buckets: LATENCY_BUCKETS,
  });
  const databaseTime = new Histogram({
    name: 'entrepot_database_duration_seconds',
    help: 'Time of database transactions, waiting for the disk included',
    labelNames: ['operation'],
    buckets: LATENCY_BUCKETS,
  });
  const running = { upload: 0, download: 0 };
  new Gauge({
    name: 'entrepot_transfers_running',
    help: 'Blob transfers under way',
    labelNames: ['direction'],
    registers,
    collect() {
      for (const direction of ['upload', 'download'] as const) this.set({ direction }, running[direction]);
    },
  });
  const jobTime = new Histogram({
    name: 'entrepot_job_duration_seconds',
    help: 'Time of runs of jobs, by kind and how they ended',
    labelNames: ['kind', 'outcome'],
    buckets: JOB_BUCKETS,
  });
  const sinkFailures = new Counter({
    name: 'entrepot_audit_sink_failures_total',
    help: 'Deliveries to audit sinks that failed, by kind of sink',
    labelNames: ['kind'],
    registers,
  });
  const collection = (what: string, help: string) => new Counter({ name: `entrepot_collection_${what}_total`, help, registers });
  const collections = {
    links: collection('links', 'Blobs that garbage collection took out of repositories'),
    blobs: collection('blobs', 'Blobs that garbage collection removed from the store'),
    bytes: collection('bytes', 'Bytes that garbage collection freed'),
    failures: collection('failures', 'Blobs that the store failed to remove; they are tried again'),
  };
  let tierCounters: ReturnType<typeof countTiers> | undefined;
  const tierCounts = () => (tierCounters ??= countTiers(registers));
  for (const histogram of [latency, storeTime, databaseTime, jobTime]) registry.registerMetric(histogram.asMetric());
  return {
    registry,
    request: (routeClass, method) => latency.child(routeClass, method),
    countStatus(routeClass, status) {
      const key = `${routeClass} ${status}`;
      let known = statuses.get(key);
      if (known === undefined) {
        known = { labels: { class: routeClass, status: String(status) }, count: 0 };
        statuses.set(key, known);
      }
      known.count++;
    },
    bytesIn: (count) => {
      moved.in += count;
    },
    bytesOut: (count) => {
      moved.out += count;
    },
    store: (operation) => storeTime.child(operation),
    database: (operation) => databaseTime.child(operation),
    transfers: {
      start: (direction) => void running[direction]++,
      end: (direction) => void running[direction]--,
    },
    job: (kind, outcome, seconds) => jobTime.child(kind, outcome)(seconds),
    sinkFailure: (kind) => sinkFailures.inc({ kind }),
    collected: (what, count) => collections[what].inc(count),
    tierMoved(to, bytes) {
      tierCounts().moves.inc({ to });
      tierCounts().bytes.inc({ to }, bytes);
    },
    tierRead: (tier) => tierCounts().reads.inc({ tier }),
    watch({ uploadsOpen, jobs, outboxBacklog, auditSinks, collection, storage, tiers }) {
      const ask = (name: string, help: string, set: (gauge: Gauge) => Promise<void>, labelNames: string[] = []) =>
        new Gauge({
          name,
          help,
          labelNames,
          registers,
          aggregator: 'first',
          async collect() {
            // Where the database does not answer, the other metrics still do.
            await set(this).catch(() => undefined);
          },
        });
      ask('entrepot_uploads_open', 'Upload sessions that have bytes and are neither finished nor expired', async (gauge) =>
        gauge.set(await uploadsOpen()),
      );
      ask('entrepot_outbox_backlog', 'Events that the slowest consumer has still to see', async (gauge) =>
        gauge.set(await outboxBacklog()),
      );
      const countJobs = async (gauge: Gauge) => {
        const rows = await jobs();
        for (const state of JOB_STATES) gauge.set({ state }, rows.find((row) => row.state === state)?.jobs ?? 0);
      };
      ask('entrepot_jobs', 'Jobs by state', countJobs, ['state']);
      ask('entrepot_damaged_blobs', 'Stored blobs that are damaged, and so not shown to clients', async (gauge) =>
        gauge.set((await storage()).damagedBlobs),
      );
      ask('entrepot_damaged_manifests', 'Manifests whose bytes in the database are damaged', async (gauge) =>
        gauge.set((await storage()).damagedManifests),
      );
      ask('entrepot_scrub_completed_timestamp_seconds', 'When all that is stored was last read and verified; 0 for never', async (gauge) =>
        gauge.set(((await storage()).scrubbedAt ?? 0) / 1000),
      );
      const due = async (gauge: Gauge) => {
        const backlog = await collection();
        for (const kind of ['links', 'blobs', 'left'] as const) gauge.set({ kind }, backlog[kind]);
      };
      ask('entrepot_collection_backlog', 'What garbage collection has still to take away, counted up to 10000', due, ['kind']);
      ask('entrepot_collection_oldest_due_seconds', 'For how long the oldest of that has been due', async (gauge) => {
        const { oldest, now } = await collection();
        gauge.set(oldest === undefined ? 0 : (now - oldest) / 1000);
      });
      const behind = async (gauge: Gauge) => {
        for (const { kind, backlog } of await auditSinks()) gauge.set({ kind }, backlog);
      };
      ask('entrepot_audit_sink_backlog', 'Audit records that the slowest enabled sink of a kind has not had yet', behind, ['kind']);
      const setAside = async (gauge: Gauge) => {
        for (const { kind, parked } of await auditSinks()) gauge.set({ kind }, parked);
      };
      if (tiers) {
        tierCounts();
        ask(
          'entrepot_tier_stored_bytes',
          'Bytes of blobs by the tier they lie in, as last counted',
          async (gauge) => {
            for (const { tier, bytes } of await tiers()) gauge.set({ tier }, bytes);
          },
          ['tier'],
        );
        ask(
          'entrepot_tier_stored_blobs',
          'Blobs by the tier they lie in, as last counted',
          async (gauge) => {
            for (const { tier, blobs } of await tiers()) gauge.set({ tier }, blobs);
          },
          ['tier'],
        );
      }
      ask('entrepot_audit_sink_parked', 'Audit records that sinks of a kind refuse whatever is tried', setAside, ['kind']);
    },
  };
}

/** Only where there are two tiers: nobody else is shown zeros of them. */
function countTiers(registers: Registry[]) {
  return {
    moves: new Counter({
      name: 'entrepot_tier_moves_total',
      help: 'Blobs moved by plan, by the tier they went to',
      labelNames: ['to'],
      registers,
    }),
    bytes: new Counter({ name: 'entrepot_tier_moved_bytes_total', help: 'Bytes of these blobs', labelNames: ['to'], registers }),
    reads: new Counter({
      name: 'entrepot_tier_reads_total',
      help: 'Pulls of blobs, by the tier they lay in',
      labelNames: ['tier'],
      registers,
    }),
  };
}
