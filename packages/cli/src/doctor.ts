import { ConfigError } from '@entrepot/server/config';
import type { Report } from '@entrepot/server/doctor';
import type { Command } from 'commander';
import { configOf, withConfig } from './options.ts';
import { progressLine, stopSignal } from './progress.ts';

interface Own extends Record<string, unknown> {
  readonly deep?: true;
  readonly mend?: true;
  readonly json?: true;
}

/** What the command ends with: warnings are left; errors are. A command that could not look at all ends with 1. */
const WARNINGS = 3;
const ERRORS = 2;

export function registerDoctor(program: Command): void {
  withConfig(program.command('doctor'))
    .description('look whether an installation is as it must be, and say how to mend what is not; beside the running server too')
    .option('--deep', 'read and hash all blobs and manifests')
    .option('--mend', 'do the repairs that are safe; each has its audit record')
    .option('--json', 'print the report as JSON')
    .action(async ({ deep, mend, json, ...options }: Own) => {
      const { examineInstallation } = await import('@entrepot/server/doctor');
      const line = progressLine();
      const report = await examineInstallation(configOrProblems(options as Record<string, string>), {
        deep: deep === true,
        mend: mend === true,
        signal: stopSignal(),
        begun: (check) => line.show(check),
      }).finally(() => line.end());
      if (json) console.log(JSON.stringify(report, undefined, 2));
      else printReport(report, mend === true);
      if (report.errors > 0) process.exitCode = ERRORS;
      else if (report.warnings > 0) process.exitCode = WARNINGS;
    });
}

function configOrProblems(options: Record<string, string>) {
  try {
    return configOf(options);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    // Where the data lies is part of it, so nothing else can be looked at.
    throw new Error(`${error.message}\n  mend the configuration first; entrepot config check looks at nothing else`, { cause: error });
  }
}

const SIGNS = { error: 'ERROR  ', warning: 'warning', notice: 'notice ' } as const;

/** What was found, for people: what, where, how bad, what to do. */
export function printReport({ checks, errors, warnings, notices, mended }: Report, mending: boolean): void {
  for (const { title, findings, found, failure, seconds } of checks) {
    const state = failure !== null ? 'could not be looked at' : found === 0 ? 'fine' : `${found} found`;
    console.log(`${title}: ${state}${seconds >= 1 ? ` (${seconds} s)` : ''}`);
    if (failure !== null) console.log(`  ${SIGNS.error} ${failure}`);
    for (const { severity, where, what, remedy, mend, mended: isMended } of findings) {
      console.log(`  ${isMended ? 'mended ' : SIGNS[severity]} ${where} ${what}`);
      if (isMended) continue;
      if (mend !== null && !mending) console.log(`          entrepot doctor --mend ${mend}${remedy.includes('--mend') ? '' : ', or:'}`);
      if (!remedy.includes('--mend') || mending) console.log(`          ${remedy}`);
    }
    if (found > findings.length) console.log(`  … and ${found - findings.length} more`);
  }
  const left = [`${errors} errors`, `${warnings} warnings`, `${notices} notices`].join(', ');
  console.log(
    errors + warnings + notices === 0
      ? `all is well${mended > 0 ? `, ${mended} mended` : ''}`
      : `${left}${mended > 0 ? `, ${mended} mended` : ''}`,
  );
}
