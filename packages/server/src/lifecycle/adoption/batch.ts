import type { Database, Session } from '../../platform/index.ts';
import type { Counts, Finding } from './findings.ts';

/** Changes of one transaction: as many, and as many bytes of manifests. The more, the fewer pages of indexes are written twice. */
const STEPS = 4000;
const BYTES = 8 << 20;

/** What a step found out: what it counts for and brought, or why nothing was adopted. */
export type Outcome =
  | {
      readonly counts: Partial<Counts>;
      readonly layers?: readonly { readonly digest: string; readonly size: number }[];
      readonly isNewTag?: boolean;
    }
  | { readonly finding: Finding };

interface Step {
  readonly bytes: number;
  run(tx: Session): Promise<Outcome>;
}

interface Parts {
  /** First in each transaction. */
  begin(tx: Session): Promise<void>;
  /** Keeps a finding in the transaction that made it. */
  say(tx: Session, finding: Finding): Promise<void>;
  /** Last in each transaction. */
  end?(tx: Session, outcomes: readonly Outcome[]): Promise<void>;
  /** Hears of everything that was committed. */
  done?(outcomes: readonly Outcome[]): void;
}

/** Gathers changes and writes many of them in one transaction, each with what is to be said of it. */
export class Batch {
  readonly #database: Database;
  readonly #parts: Parts;
  #steps: Step[] = [];
  #bytes = 0;

  constructor(database: Database, parts: Parts) {
    this.#database = database;
    this.#parts = parts;
  }

  /** Adds a change, of so many bytes in memory; it happens now or later, in the order of adding. */
  async add(run: Step['run'], bytes = 0): Promise<void> {
    this.#steps.push({ run, bytes });
    this.#bytes += bytes;
    if (this.#steps.length >= STEPS || this.#bytes >= BYTES) await this.flush();
  }

  async say(finding: Finding): Promise<void> {
    await this.add(() => Promise.resolve({ finding }));
  }

  async flush(): Promise<void> {
    const steps = this.#steps;
    if (steps.length === 0) return;
    this.#steps = [];
    this.#bytes = 0;
    const { begin, say, end, done } = this.#parts;
    const outcomes = await this.#database.write(
      async (tx) => {
        await begin(tx);
        const found: Outcome[] = [];
        for (const step of steps) {
          const outcome = await step.run(tx);
          if ('finding' in outcome) await say(tx, outcome.finding);
          found.push(outcome);
        }
        await end?.(tx, found);
        return found;
      },
      { durable: false }, // the transaction that notes how far it came makes all before it durable
    );
    done?.(outcomes);
  }
}
