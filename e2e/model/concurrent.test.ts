import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { type Command, commandsOf, perform, type Real } from './commands.ts';
import { type Event, explain } from './explain.ts';
import { describeOutcome, type State, step } from './reference.ts';
import { observe, openWorld } from './world.ts';

/** Ends the search for the smallest failing example, so that it is told before the test's own limit. */
const LIMIT_MS = 60_000;

/** What one client does, one command after the other. */
async function carryOut(real: Real, commands: readonly Command[]): Promise<Event[]> {
  const events: Event[] = [];
  for (const command of commands) {
    const begun = performance.now();
    const outcome = await perform(real, command);
    events.push({ command, outcome, begun, ended: performance.now() });
  }
  return events;
}

function told(clients: readonly (readonly Event[])[]): string {
  const lines = clients.flatMap((events, client) =>
    events.map(({ command, outcome, begun, ended }) => ({
      begun,
      line: `client ${client}, ${begun.toFixed(1)} to ${ended.toFixed(1)}: ${JSON.stringify(command)} → ${describeOutcome(command, outcome)}`,
    })),
  );
  return lines
    .sort((a, b) => a.begun - b.begun)
    .map(({ line }) => line)
    .join('\n');
}

describe.each([1, 2])('several clients at once, with %i workers', (workers) => {
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

  // Few who may do much, in few places, so that they get in each other's way.
  const busy = commandsOf({ root: 2, ann: 2, bob: 1 }, { alpha: 3, gamma: 1 });
  const before = fc.array(busy, { maxLength: 10, size: 'max' });
  const clients = fc.array(fc.array(busy, { minLength: 1, maxLength: 4, size: 'max' }), { minLength: 2, maxLength: 5, size: 'max' });

  test('some order of what they did explains every answer and what is there in the end', async () => {
    await fc.assert(
      fc.asyncProperty(before, clients, async (earlier, lanes) => {
        const real = newRun();
        let state: State = {};
        const stocked: Command[] = (['alpha', 'gamma'] as const).map((to) => ({ op: 'stock', by: 'root', to }));
        for (const command of [...stocked, ...earlier]) {
          await perform(real, command);
          ({ state } = step(state, command, real.material));
        }
        const events = await Promise.all(lanes.map((commands) => carryOut(real, commands)));
        const ends = explain(state, events, real.material);
        expect(ends.length, `nothing explains\n${told(events)}`).toBeGreaterThan(0);
        expect(ends, `nothing explains the end of\n${told(events)}`).toContain(await observe(real));
      }),
      { numRuns: 40, interruptAfterTimeLimit: LIMIT_MS },
    );
  });
});
