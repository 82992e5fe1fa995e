import { setImmediate as turn } from 'node:timers/promises';
import { findManifest, needsOfManifest } from '../../catalog/index.ts';
import type { JobContext, Session } from '../../platform/index.ts';
import { boundsOf, type MoveParts, recordRun } from './move.ts';
import { hasOtherNeeders, isPinned, isSharedBlob, type PlacedLink, pageOfLinks, placedLink } from './plan-store.ts';
import type { PlanBlob } from './planner.ts';
import { surveyTiers } from './survey.ts';

const PAGE = 500;
/** Indexes within indexes, as deep as anybody makes them. */
const DEPTH = 4;

/** A repository, or an image of it, that somebody wants in a tier now. */
export interface Placing {
  readonly repositoryId: number;
  /** Of the image; null: all that the repository has. */
  readonly digest: string | null;
  readonly tier: 'hot' | 'cold';
  readonly by: string;
}

/**
 * Moves what somebody asked for, whatever its heat. Out of the hot tier goes only what no other repository or image has and
 * nobody wants hot; into it comes what there is room for.
 */
export async function placeRepository(
  parts: MoveParts,
  { repositoryId, digest, tier, by }: Placing,
  context: JobContext,
): Promise<unknown> {
  const { database, clock } = parts;
  const { state, leavingBytes } = await surveyTiers({
    database,
    clock,
    halfLifeMs: parts.halfLifeMs,
    minBytes: parts.settings.minBytes,
    signal: context.signal,
  });
  const { hotBytes, settings } = await boundsOf(parts.tiers, parts.settings, state.hot.bytes, leavingBytes);
  return await recordRun(parts, context, { by, hotBytes, state }, async (mover, before) => {
    let hot = before;
    for await (const link of linksTo(database, repositoryId, digest, context.signal)) {
      const lies = link.tier ?? 'hot';
      if (lies === tier || mover.isFull()) continue;
      const blob: PlanBlob & { digest: string } = { ...link, score: 0, storedAt: clock.now(), movedAt: link.since, pinned: false };
      if (tier === 'cold') {
        if (link.size < settings.minBytes) mover.keep('small');
        else if (link.isCommon || (await isSharedBlob(database, link.digest, repositoryId))) mover.keep('shared');
        else if (await isPinned(database, link.digest)) mover.keep('pinned');
        else {
          hot -= link.size;
          await mover.move('cold', blob, 'asked');
        }
      } else if (settings.capacityBytes > 0 && hot + link.size > settings.capacityBytes * settings.high) mover.keep('no room');
      else {
        hot += link.size;
        await mover.move('hot', blob, 'asked');
      }
    }
    await mover.settle();
    return hotBytes - mover.counts.demotedBytes + mover.counts.promotedBytes;
  });
}

interface WantedLink extends PlacedLink {
  /** Whether other images of the repository need it too. */
  readonly isCommon: boolean;
}

async function* linksTo(session: Session, repositoryId: number, digest: string | null, signal: AbortSignal): AsyncGenerator<WantedLink> {
  if (digest !== null) {
    for (const [blob, needers] of await blobsOfImage(session, repositoryId, digest)) {
      signal.throwIfAborted();
      const link = await placedLink(session, repositoryId, blob);
      if (link) yield { ...link, isCommon: await hasOtherNeeders(session, repositoryId, blob, needers) };
    }
    return;
  }
  for (let after = ''; ; ) {
    signal.throwIfAborted();
    const links = await pageOfLinks(session, repositoryId, after, PAGE);
    for (const link of links) yield { ...link, isCommon: false };
    await turn();
    after = links.at(-1)?.digest ?? after;
    if (links.length < PAGE) return;
  }
}

/** Blobs that an image needs, those of its children included, and how many of its manifests need each. */
export async function blobsOfImage(session: Session, repositoryId: number, digest: string): Promise<Map<string, number>> {
  const blobs = new Map<string, number>();
  const seen = new Set([digest]);
  let level = [digest];
  for (let depth = 0; depth < DEPTH && level.length > 0; depth++) {
    const below: string[] = [];
    for (const each of level) {
      const manifest = await findManifest(session, repositoryId, each);
      if (!manifest) continue;
      for (const need of await needsOfManifest(session, manifest.id)) {
        if (need.kind === 'blob') blobs.set(need.digest, (blobs.get(need.digest) ?? 0) + 1);
        else if (!seen.has(need.digest)) {
          seen.add(need.digest);
          below.push(need.digest);
        }
      }
    }
    level = below;
  }
  return blobs;
}
