import type { Check, CheckReport, Finding, Mend, Report, Severity } from './finding.ts';

/** Findings of one check that are told in full. */
const TOLD = 100;

interface Options {
  readonly now: number;
  readonly signal: AbortSignal;
  /** Repairs a finding, with a record of it; undefined: nothing is changed. */
  mend?: (mend: Mend, finding: Finding) => Promise<void>;
  /** Told of each check as it begins. */
  begun?: (check: Check) => void;
}

/** Runs checks one after the other. One that fails is a finding of its own and ends no other. */
export async function runChecks(checks: readonly Check[], options: Options): Promise<Report> {
  const left: Record<Severity, number> = { error: 0, warning: 0, notice: 0 };
  const reports: CheckReport[] = [];
  let mended = 0;
  for (const check of checks) {
    options.signal.throwIfAborted();
    options.begun?.(check);
    const report = await runCheck(check, options, left);
    mended += report.mended;
    reports.push(report);
  }
  const { error, warning, notice } = left;
  return { at: new Date(options.now).toISOString(), checks: reports, errors: error, warnings: warning, notices: notice, mended };
}

async function runCheck({ name, title, run }: Check, { signal, mend }: Options, left: Record<Severity, number>): Promise<CheckReport> {
  const started = performance.now();
  const findings: CheckReport['findings'][number][] = [];
  let found = 0;
  let mended = 0;
  let failure: string | null = null;
  try {
    for await (const finding of run(signal)) {
      found++;
      const isMended = mend !== undefined && finding.mend !== undefined && (await tryMend(mend, finding.mend, finding));
      if (isMended) mended++;
      else left[finding.severity]++;
      const { mend: how, ...told } = finding;
      if (findings.length < TOLD) findings.push({ ...told, mend: how?.does ?? null, mended: isMended });
    }
  } catch (error) {
    signal.throwIfAborted();
    failure = (error as Error).message;
    left.error++;
  }
  return { name, title, findings, found, mended, failure, seconds: Math.round(performance.now() - started) / 1000 };
}

async function tryMend(mend: NonNullable<Options['mend']>, how: Mend, finding: Finding): Promise<boolean> {
  try {
    await mend(how, finding);
    return true;
  } catch {
    return false; // it is told as a finding that is left
  }
}
