import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, type SuiteFactory } from 'vitest';

const run = promisify(execFile);

/** Continuous integration installs every client, so there a missing one is a failure. */
const REQUIRED = process.env.ENTREPOT_REQUIRE_CLIENTS === '1';

export function has(tool: string): boolean {
  try {
    execFileSync('which', [tool], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** A suite that needs programs of the system: skipped with one line where one is absent. */
export function describeWith(tools: readonly string[], name: string, suite: SuiteFactory): void {
  const missing = tools.filter((tool) => !has(tool));
  if (missing.length === 0) {
    describe(name, suite);
  } else if (REQUIRED) {
    describe(name, () => {
      throw new Error(`needs ${missing.join(', ')}`);
    });
  } else {
    console.log(`skipped: ${name} (needs ${missing.join(', ')})`);
    describe.skip(name, suite);
  }
}

/** Runs a program to its end and gives its output; rejects with what it printed where it fails. */
export async function exec(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  try {
    const { stdout } = await run(program, [...args], { env: { ...process.env, ...env }, maxBuffer: 64 << 20 });
    return stdout;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${program} ${args.join(' ')} failed:\n${stdout}${stderr}`, { cause: error });
  }
}
