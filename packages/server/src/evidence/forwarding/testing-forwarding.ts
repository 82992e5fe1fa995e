import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { afterEach, beforeEach } from 'vitest';
import {
  type AuditEntry,
  audit,
  auditMigrations,
  createJobRunner,
  createOutbound,
  createSeal,
  type Database,
  type JobRunner,
  jobMigrations,
  type Migration,
} from '../../platform/index.ts';
import { forwardingJob } from './delivery.ts';
import { forwardingMigrations } from './schema.ts';
import { sealSecrets } from './secrets.ts';
import { insertSink, rowOf, type SinkRow, setSecrets, sinkByName } from './store.ts';
import type { SinkSecrets, Target } from './targets.ts';
import type { HttpRequest } from './testing-sinks.ts';

export const PATIENCE = { timeout: 20_000 };

export const ENTRY: AuditEntry = {
  actor: { kind: 'user', id: 1, name: 'alice', credential: null },
  origin: null,
  action: 'member.create',
  resource: { type: 'member', project: 'demo', name: 'bob' },
  outcome: 'success',
  after: { role: 'guest' },
};

export const upTo = (n: number) => Array.from({ length: n }, (_, at) => at + 1);

/** Numbers of the records in requests of lines. */
export function linesOf(requests: readonly Pick<HttpRequest, 'body'>[]): number[] {
  const lines = requests.flatMap(({ body }) => body.split('\n').slice(0, -1));
  return lines.map((line) => (JSON.parse(line) as { seq: number }).seq);
}

/** One set of data, and connections to it. */
interface Store {
  open(): Promise<Database>;
  remove(): Promise<void>;
}
type MakeStore = (migrations: readonly Migration[]) => Store;

/** Audit records, sinks and processes that forward, of each test alone, at a time that the test decides. */
class Forwarding {
  readonly #seal = createSeal(randomBytes(32));
  #store: Store | undefined;
  #database: Database | undefined;
  #runners: JobRunner[] = [];
  #closing: { close(): Promise<unknown> }[] = [];
  readonly #makeStore: MakeStore;
  now = 0;
  /** Kinds of the sinks of which a delivery failed. */
  failures: string[] = [];
  /** How runs of the job ended. */
  outcomes: string[] = [];

  constructor(makeStore: MakeStore) {
    this.#makeStore = makeStore;
  }

  get database(): Database {
    if (!this.#database) throw new Error('not begun');
    return this.#database;
  }

  async begin(): Promise<void> {
    this.#store = this.#makeStore([...jobMigrations, ...auditMigrations, ...forwardingMigrations]);
    this.#database = await this.openDatabase();
    this.now = Date.UTC(2026, 0, 31, 23, 59, 59);
    this.#runners = [];
    this.#closing = [];
    this.failures = [];
    this.outcomes = [];
  }

  async end(): Promise<void> {
    await Promise.all(this.#runners.map((runner) => runner.stop()));
    for (const each of this.#closing) await each.close();
    await this.#store?.remove();
  }

  /** One more connection, as another process has it. */
  async openDatabase(): Promise<Database> {
    if (!this.#store) throw new Error('not begun');
    return await this.#store.open();
  }

  /** Has it closed after the test. */
  opened<T extends { close(): Promise<unknown> }>(server: T): T {
    this.#closing.push(server);
    return server;
  }

  /** A process that forwards. */
  forwarder(database = this.database, holder = 'one', answerMs = 2000, outboundCaFile = ''): JobRunner {
    const outbound = this.opened(createOutbound({ outboundAllow: '127.0.0.1', outboundProxy: '', outboundCaFile }));
    const clock = { now: () => this.now };
    const log = pino({ level: 'silent' });
    const parts = { database, outbound, seal: this.#seal, clock, log, answerMs, random: () => 1 };
    const job = forwardingJob({ ...parts, onFailure: (kind) => this.failures.push(kind) });
    const onOutcome = (_: string, outcome: string) => this.outcomes.push(outcome);
    const runner = createJobRunner({ database, clock, log, definitions: [job], holder, pollMs: 5, onOutcome });
    this.#runners.push(runner);
    return runner;
  }

  async addSink(name: string, target: Target, secrets: SinkSecrets = {}, position = 0): Promise<void> {
    const sink = { name, kind: target.kind, target: JSON.stringify(target), enabled: 1, position, now: this.now, by: 'test' };
    await this.database.write(async (tx) => {
      const id = (await tx.first(insertSink, sink))?.id ?? 0;
      await tx.run(setSecrets, { id, secrets: sealSecrets(this.#seal, id, secrets) });
    });
  }

  async sinkOf(name: string): Promise<SinkRow> {
    const row = await this.database.first(sinkByName, { name });
    if (!row) throw new Error(`there is no sink ${name}`);
    return rowOf(row);
  }

  /** Writes so many audit records. */
  async happen(times: number, entry: Partial<AuditEntry> = {}): Promise<void> {
    const clock = { now: () => this.now };
    await this.database.write(async (tx) => {
      for (let i = 0; i < times; i++) await audit(tx, { ...ENTRY, ...entry }, clock);
    });
  }
}

/** Begins anew for each test of a suite. */
export function useForwarding(makeStore: MakeStore): Forwarding {
  const forwarding = new Forwarding(makeStore);
  beforeEach(() => forwarding.begin());
  afterEach(() => forwarding.end());
  return forwarding;
}
