import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { checkInvariants } from './harness/invariants.ts';
import { ADMIN, startServer, type TestServer, temporaryFolder } from './harness/server.ts';
import { describeIfPresent, exec } from './harness/tools.ts';

/** distribution-spec's own program, the folder `conformance` of its main branch. Its judgement is not ours. */
const GIVEN = process.env.ENTREPOT_CONFORMANCE;
const PROGRAM = GIVEN ?? 'conformance';

describeIfPresent(GIVEN === undefined ? [PROGRAM] : [], "the distribution specification's conformance program", () => {
  let server: TestServer;
  afterEach(() => server.stop('SIGKILL'));

  // Each version with all that it tests by default, against a server with all its defaults; and with manifests some of whose
  // parts are missing, where the settings allow that.
  const sparse = { 'sparse-indexes': 'true', 'sparse-images': 'true' };
  test.each([
    ['dev', 900, {}],
    ['1.1', 800, {}],
    ['1.0', 800, {}],
    ['dev', 1000, sparse],
  ])('version %s: nothing failed, nothing skipped', async (version, atLeast, options) => {
    server = await startServer({ options });
    const results = temporaryFolder();
    const env = {
      OCI_REGISTRY: server.address,
      OCI_TLS: 'disabled',
      OCI_REPO1: 'conformance/one',
      OCI_REPO2: 'conformance/two',
      OCI_USERNAME: ADMIN.user,
      OCI_PASSWORD: ADMIN.password,
      OCI_VERSION: version,
      OCI_DATA_SPARSE: String(options === sparse),
      OCI_RESULTS_DIR: results,
    };
    // It ends with 1 where something failed; what it printed says what.
    const printed = await exec(PROGRAM, [], env).catch(String);
    const { tests, ...bad } = readReport(join(results, 'junit.xml'), printed);
    expect(bad).toEqual({ failures: 0, errors: 0, skipped: 0, named: [] });
    expect(tests).toBeGreaterThan(atLeast);
    expect(await server.stop()).toBe(0);
    if (options !== sparse) await checkInvariants(server.dataDir);
  });
});

interface Report {
  readonly tests: number;
  readonly failures: number;
  readonly errors: number;
  /** Tests that found the server not to support something; not those that a version leaves out. */
  readonly skipped: number;
  /** What failed or was skipped, in the program's words. */
  readonly named: readonly string[];
}

function readReport(path: string, printed: string): Report {
  const suite = existsSync(path) ? /<testsuite (.*)>/.exec(readFileSync(path, 'utf8'))?.[1] : undefined;
  if (suite === undefined) throw new Error(`the program left no report:\n${printed}`);
  const count = (attribute: string) => Number(new RegExp(` ${attribute}="([0-9]+)"`).exec(` ${suite}`)?.[1] ?? 0);
  const named = [...printed.matchAll(/^ +OCI Conformance Test\/(.*): (?:FAIL|Error|Skip)$/gm)].map(([, name = '']) => name);
  return { tests: count('tests'), failures: count('failures'), errors: count('errors'), skipped: count('skipped'), named };
}
