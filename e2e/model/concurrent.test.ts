import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { type Command, commandsOf, perform, type Real } from './commands.ts';
import { type Event, explain } from './explain.ts';
import type { Shape } from './material.ts';
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

const ann = { by: 'ann', to: 'alpha' } as const;
const root = { by: 'root', to: 'gamma' } as const;
const putAs = (shape: Shape, only?: 'absent' | { is: Shape }): Command => ({
  ...ann,
  op: 'put',
  shape,
  under: { kind: 'tag', tag: 'a', only },
});
/** Commands of which each stands in the way of some others: about a tag and its manifests, and about a blob in two places. */
const CONTENDED: readonly (readonly Command[])[] = [
  [
    putAs('plain'),
    putAs('plain', 'absent'),
    putAs('plain', { is: 'bare' }),
    putAs('bare', 'absent'),
    putAs('bare', { is: 'plain' }),
    putAs('docker', { is: 'plain' }),
    putAs('pair'),
    { ...ann, op: 'delete tag', tag: 'a' },
    { ...ann, op: 'delete manifest', shape: 'plain', algorithm: 'sha256' },
    { ...ann, op: 'delete manifest', shape: 'pair', algorithm: 'sha256' },
    { ...ann, op: 'delete blob', blob: 'medium' },
    { ...ann, op: 'push', blob: 'medium', how: 'by PUT', wrong: false },
    { ...ann, op: 'get manifest', under: { tag: 'a' }, head: false },
    { ...ann, op: 'list tags', n: undefined, last: undefined },
  ],
  [
    { ...ann, op: 'delete blob', blob: 'medium' },
    { ...ann, op: 'push', blob: 'medium', how: 'in one request', wrong: false },
    { ...root, op: 'mount', blob: 'medium', from: 'alpha' },
    { ...root, op: 'delete blob', blob: 'medium' },
    { ...root, op: 'get blob', blob: 'medium', head: true, range: undefined },
    { ...root, op: 'put', shape: 'plain', under: { kind: 'digest', algorithm: 'sha512', tags: [] } },
  ],
];

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

  async function check(earlier: readonly Command[], lanes: readonly (readonly Command[])[]): Promise<void> {
    const real = newRun();
    let state: State = {};
    const stocked: Command[] = (['alpha', 'gamma'] as const).map((to) => ({ op: 'stock', by: 'root', to, large: false }));
    for (const command of [...stocked, ...earlier]) {
      await perform(real, command);
      ({ state } = step(state, command, real.material));
    }
    const events = await Promise.all(lanes.map((commands) => carryOut(real, commands)));
    const ends = explain(state, events, real.material);
    expect(ends.length, `nothing explains\n${told(events)}`).toBeGreaterThan(0);
    expect(ends, `nothing explains the end of\n${told(events)}`).toContain(await observe(real));
  }

  test('some order of what they did explains every answer and what is there in the end', async () => {
    // Few who may do much, in few places.
    const command = commandsOf({ root: 2, ann: 2, bob: 1 }, { alpha: 3, gamma: 1 });
    const earlier = fc.array(command, { maxLength: 10, size: 'max' });
    const clients = fc.array(fc.array(command, { minLength: 1, maxLength: 4, size: 'max' }), { minLength: 2, maxLength: 5, size: 'max' });
    await fc.assert(fc.asyncProperty(earlier, clients, check), { numRuns: 24, interruptAfterTimeLimit: LIMIT_MS });
  });

  test('so it does where all want the same tag, manifests and blob', async () => {
    const lanes = fc.constantFrom(...CONTENDED).chain((commands) => {
      const command = fc.constantFrom(...commands);
      return fc.tuple(
        fc.array(command, { maxLength: 4, size: 'max' }),
        fc.array(fc.array(command, { minLength: 1, maxLength: 2, size: 'max' }), { minLength: 4, maxLength: 8, size: 'max' }),
      );
    });
    await fc.assert(
      fc.asyncProperty(lanes, ([earlier, clients]) => check(earlier, clients)),
      { numRuns: 45, interruptAfterTimeLimit: LIMIT_MS },
    );
  });
});
