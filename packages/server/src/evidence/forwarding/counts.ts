import type { Session } from '../../platform/index.ts';
import { allSinks, newestSeq, parkedCounts } from './store.ts';
import type { SinkKind } from './targets.ts';

export const SINK_KINDS: readonly SinkKind[] = ['fluentd', 'syslog', 'elasticsearch', 'http'];

/** How forwarding goes, for the metrics: of each kind the enabled sink that is furthest behind, and all that is parked. */
export async function forwardingCounts(session: Session): Promise<readonly { kind: SinkKind; backlog: number; parked: number }[]> {
  const sinks = await session.all(allSinks, {});
  const newest = await newestSeq(session);
  const parked = await parkedCounts(session);
  return SINK_KINDS.map((kind) => {
    const own = sinks.filter((sink) => sink.kind === kind);
    const behind = own.map(({ enabled, position }) => (enabled === 1 ? newest - position : 0));
    return { kind, backlog: Math.max(0, ...behind), parked: own.reduce((sum, { id }) => sum + (parked.get(id) ?? 0), 0) };
  });
}
