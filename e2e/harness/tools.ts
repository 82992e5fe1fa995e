import { type ChildProcess, execFile, execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { describe, type SuiteFactory } from 'vitest';
import { atEnd } from './at-end.ts';

const run = promisify(execFile);
/** What a test that failed, or ran out of time, may leave behind. */
const running = new Set<ChildProcess>();
atEnd(() => {
  for (const child of running) child.kill('SIGKILL');
});

/** Continuous integration installs every client, so there a missing one is a failure. */
const REQUIRED = process.env.ENTREPOT_REQUIRE_CLIENTS === '1';

/** Where Debian puts the modules of programs. */
const LIBRARIES = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib'];

/** What a suite can need that is no program of that name. */
const CONDITIONS: Readonly<Record<string, () => boolean>> = {
  root: () => process.getuid?.() === 0,
  ENTREPOT_IMAGES: () => process.env.ENTREPOT_IMAGES !== undefined,
  /** rsyslog's TLS, a package of its own. */
  'rsyslog-gnutls': () => LIBRARIES.some((folder) => existsSync(`${folder}/rsyslog/lmnsd_gtls.so`)),
  /** A busybox that runs where nothing else is: one that asks for no dynamic loader. */
  'busybox-static': () => has('busybox') && !readFileSync('/bin/busybox').includes('/ld-linux'),
};

export function has(tool: string): boolean {
  const condition = CONDITIONS[tool];
  if (condition !== undefined) return condition();
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
  if (REQUIRED && missing.length > 0) {
    describe(name, () => {
      throw new Error(`needs ${missing.join(', ')}`);
    });
  } else {
    describeIfPresent(tools, name, suite);
  }
}

/** A suite that needs what no Debian package brings: skipped with one line where it is absent, in continuous integration too. */
export function describeIfPresent(tools: readonly string[], name: string, suite: SuiteFactory): void {
  const missing = tools.filter((tool) => !has(tool));
  if (missing.length === 0) return void describe(name, suite);
  console.log(`skipped: ${name} (needs ${missing.join(', ')})`);
  describe.skip(name, suite);
}

/** Runs a program to its end and gives its output; rejects with what it printed where it fails. */
export async function exec(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const started = run(program, [...args], { env: { ...process.env, ...env }, maxBuffer: 64 << 20 });
  running.add(started.child);
  try {
    return (await started).stdout;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${program} ${args.join(' ')} failed:\n${stdout}${stderr}`, { cause: error });
  } finally {
    running.delete(started.child);
  }
}
