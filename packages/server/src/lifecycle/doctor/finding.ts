/** How bad it is: something is lost or will not work; something is not as it should be; something to know. */
export type Severity = 'error' | 'warning' | 'notice';

/** Something that is not as it should be. */
export interface Finding {
  readonly severity: Severity;
  /** The thing it is about. */
  readonly where: string;
  readonly what: string;
  /** What to do about it, for people. */
  readonly remedy: string;
  /** Repairs it without risk; safe to repeat. Absent where that takes a decision. */
  readonly mend?: Mend;
}

export interface Mend {
  /** Name of the audit record of the repair, `<resource>.<verb>`. */
  readonly audit: string;
  /** What it does, for people. */
  readonly does: string;
  run(): Promise<void>;
}

/** One thing that doctor looks at. */
export interface Check {
  readonly name: string;
  /** Of what it looks at, for people. */
  readonly title: string;
  run(signal: AbortSignal): AsyncIterable<Finding>;
}

/** What one check came to. */
export interface CheckReport {
  readonly name: string;
  readonly title: string;
  /** Those found first; `found` counts all. */
  readonly findings: readonly (Omit<Finding, 'mend'> & {
    /** What a safe repair does; null where there is none. */
    readonly mend: string | null;
    readonly mended: boolean;
  })[];
  readonly found: number;
  readonly mended: number;
  /** Why it could not look to the end. */
  readonly failure: string | null;
  readonly seconds: number;
}

export interface Report {
  readonly at: string;
  readonly checks: readonly CheckReport[];
  /** What is left, by severity; a check that failed counts as an error. */
  readonly errors: number;
  readonly warnings: number;
  readonly notices: number;
  readonly mended: number;
}
