import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { type Command, commandsOf, perform, type Real } from './commands.ts';
import { describeOutcome, describeState, type State, step } from './reference.ts';
import { observe, openWorld } from './world.ts';

/** Ends the search for the smallest failing example, so that it is told before the test's own limit. */
const LIMIT_MS = 60_000;

interface Model {
  state: State;
}

class CommandStep implements fc.AsyncCommand<Model, Real> {
  readonly command: Command;
  constructor(command: Command) {
    this.command = command;
  }
  check(): boolean {
    return true;
  }
  async run(model: Model, real: Real): Promise<void> {
    const { outcome, state } = step(model.state, this.command, real.material);
    const found = await perform(real, this.command);
    expect(describeOutcome(this.command, found), this.toString()).toBe(describeOutcome(this.command, outcome));
    model.state = state;
  }
  toString(): string {
    return JSON.stringify(this.command);
  }
}

const users = { root: 4, ann: 4, bob: 3, eve: 1, anonymous: 1 };
const steps = commandsOf(users, { alpha: 5, beta: 1, gamma: 2 }).map((command) => new CommandStep(command));

describe.each([1, 2])('one request after the other, with %i workers', (workers) => {
  let server: TestServer;
  let newRun: () => Real;
  beforeAll(async () => {
    server = await startServer({ options: { workers: String(workers) } });
    newRun = await openWorld(server);
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    expect((await checkInvariants(server.dataDir)).manifests).toBeGreaterThan(10);
  });

  test('each is answered as the reference model says, and in the end all is there that should be', async () => {
    await fc.assert(
      fc.asyncProperty(fc.commands([steps], { maxCommands: 100, size: 'max' }), async (commands) => {
        const model: Model = { state: {} };
        const real = newRun();
        const stock = new CommandStep({ op: 'stock', by: 'root', to: 'alpha', large: true });
        await stock.run(model, real);
        await fc.asyncModelRun(() => ({ model, real }), commands);
        expect(await observe(real)).toBe(describeState(model.state));
      }),
      { numRuns: 15, interruptAfterTimeLimit: LIMIT_MS },
    );
  });
});
