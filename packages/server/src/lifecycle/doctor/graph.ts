import {
  type Contradiction,
  type ContradictionKind,
  contradictions,
  mendLink,
  mendStrayReferences,
  reviewStored,
} from '../../catalog/index.ts';
import type { Clock, Config, Database, Session } from '../../platform/index.ts';
import type { Check, Finding, Mend, Severity } from './finding.ts';

interface Parts {
  readonly database: Database;
  readonly clock: Clock;
  readonly config: Pick<Config, 'sparseIndexes' | 'sparseImages'>;
}

/** How many contradictions of one kind are read at once; while they are mended, until there are none. */
const PAGE = 1000;
/** Rounds without an end in sight are given up. */
const MOST_ROUNDS = 10_000;

interface Kind {
  readonly kind: ContradictionKind;
  readonly severity: Severity;
  readonly what: (found: Contradiction) => string;
  readonly remedy: string;
  readonly where?: (found: Contradiction) => string;
  readonly mend?: { readonly audit: string; readonly does: string; run(tx: Session, found: Contradiction, now: number): Promise<void> };
}

const PUSH_AGAIN = 'push the image again, or delete what leads to it';

/** What the tables say of each other: closed graph, memberships, and what collection may take. */
export function graphChecks({ database, clock, config }: Parts): Check[] {
  const kinds: Readonly<Record<string, { title: string; kinds: Kind[] }>> = {
    tags: {
      title: 'tags and their history',
      kinds: [
        {
          kind: 'tagsAstray',
          severity: 'error',
          what: ({ other }) => `leads to manifest ${other}, which is not there`,
          where: ({ repository, name }) => `${repository}:${name}`,
          remedy: 'delete the tag, or push its image again',
        },
        {
          kind: 'historyAstray',
          severity: 'warning',
          what: ({ other }) => `is not what its history says last (${other})`,
          where: ({ repository, name }) => `${repository}:${name}`,
          remedy: 'push the image of the tag again; that writes history anew',
        },
      ],
    },
    manifests: {
      title: 'manifests and what they need',
      kinds: [
        {
          kind: 'contentAstray',
          severity: 'error',
          what: ({ other }) => `has ${other} bytes`,
          remedy: 'push the manifest again; entrepot scrub repairs it where another repository has it',
        },
        {
          kind: 'childrenAstray',
          severity: config.sparseIndexes ? 'notice' : 'error',
          what: ({ other }) => `needs manifest ${other}, which its repository does not have`,
          remedy: config.sparseIndexes ? 'nothing: sparseIndexes allows it' : PUSH_AGAIN,
        },
        {
          kind: 'blobsAstray',
          severity: config.sparseImages ? 'notice' : 'error',
          what: ({ other }) => `needs blob ${other}, which its repository does not have`,
          remedy: config.sparseImages ? 'nothing: sparseImages allows it' : PUSH_AGAIN,
        },
        {
          kind: 'referencesAstray',
          severity: 'warning',
          what: ({ other }) => `needs ${other}, but is not there itself`,
          where: ({ name }) => `manifest number ${name}`,
          remedy: 'entrepot doctor --mend',
          mend: {
            audit: 'reference.mend',
            does: 'forgets what it needs',
            run: (tx, { name }) => mendStrayReferences(tx, Number(name)),
          },
        },
      ],
    },
    memberships: {
      title: 'memberships of blobs, and what collection may take',
      kinds: [
        {
          kind: 'linksAstray',
          severity: 'error',
          what: ({ other }) =>
            other === 'live' ? 'has another size than the store knows of it' : `is a member, but the store has ${other} row of it in use`,
          remedy: PUSH_AGAIN,
        },
        {
          kind: 'linksOpen',
          severity: 'error',
          what: () => 'is needed, but marked for collection',
          remedy: 'entrepot doctor --mend',
          mend: {
            audit: 'blob.mend',
            does: 'takes the mark away',
            run: (tx, { repositoryId, name }, now) => mendLink(tx, repositoryId, name, now),
          },
        },
        {
          kind: 'linksKept',
          severity: 'warning',
          what: () => 'is needed by nothing, but not marked for collection: it would stay for good',
          remedy: 'entrepot doctor --mend',
          mend: {
            audit: 'blob.mend',
            does: 'marks it',
            run: (tx, { repositoryId, name }, now) => mendLink(tx, repositoryId, name, now),
          },
        },
        {
          kind: 'storedKept',
          severity: 'warning',
          what: () => 'is a member of no repository, but not up for review: its bytes would stay for good',
          remedy: 'entrepot doctor --mend',
          mend: { audit: 'blob.mend', does: 'has it reviewed', run: (tx, { name }, now) => reviewStored(tx, name, now) },
        },
      ],
    },
  };

  async function* find(kind: Kind, signal: AbortSignal): AsyncGenerator<Finding> {
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const found = await contradictions(database, kind.kind, PAGE);
      let mended = 0;
      for (const one of found) {
        signal.throwIfAborted();
        yield findingOf(kind, one, () => void mended++);
      }
      // Only what was mended makes room for others.
      if (found.length < PAGE || mended === 0) return;
    }
  }

  function findingOf({ severity, what, remedy, where, mend }: Kind, found: Contradiction, mended: () => void): Finding {
    const { repository, name } = found;
    const place = where?.(found) ?? (repository === '' ? name : `${repository}@${name}`);
    const run = async (how: NonNullable<typeof mend>) => {
      await database.write((tx) => how.run(tx, found, clock.now()));
      mended();
    };
    const how: { mend?: Mend } = mend ? { mend: { audit: mend.audit, does: mend.does, run: () => run(mend) } } : {};
    return { severity, where: place, what: what(found), remedy, ...how };
  }

  return Object.entries(kinds).map(([name, { title, kinds: all }]) => ({
    name,
    title,
    async *run(signal) {
      for (const kind of all) yield* find(kind, signal);
    },
  }));
}
