import type { Command } from './commands.ts';
import type { Material } from './material.ts';
import { describeOutcome, describeState, type Outcome, type State, step } from './reference.ts';

/** A command that one of several clients carried out, and when (milliseconds of one clock). */
export interface Event {
  readonly command: Command;
  readonly outcome: Outcome;
  readonly begun: number;
  readonly ended: number;
}

/**
 * Looks for an order of what several clients did at once in which each answer, one after the other, is what the reference
 * model answers, and no command stands before one that had ended when it began (linearizability). Gives the states in
 * which such orders end, as text; none: nothing explains what was answered.
 */
export function explain(start: State, clients: readonly (readonly Event[])[], material: Material): string[] {
  const ends = new Set<string>();
  const tried = new Set<string>();
  const visit = (state: State, done: readonly number[]): void => {
    const key = `${done.join()} ${describeState(state)}`;
    if (tried.has(key)) return;
    tried.add(key);
    const next = clients.map((events, client) => events[done[client] ?? 0]);
    if (next.every((event) => event === undefined)) return void ends.add(describeState(state));
    const firstEnd = Math.min(...next.map((event) => event?.ended ?? Number.POSITIVE_INFINITY));
    next.forEach((event, client) => {
      if (!event || event.begun > firstEnd) return;
      const after = step(state, event.command, material);
      if (describeOutcome(event.command, after.outcome) !== describeOutcome(event.command, event.outcome)) return;
      visit(
        after.state,
        done.map((count, index) => (index === client ? count + 1 : count)),
      );
    });
  };
  visit(
    start,
    clients.map(() => 0),
  );
  return [...ends];
}
