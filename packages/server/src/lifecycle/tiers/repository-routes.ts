import { setImmediate as turn } from 'node:timers/promises';
import { isTag, parseDigest } from '@entrepot/oci';
import Type, { type Static } from 'typebox';
import {
  findManifest,
  findManifestByTag,
  findProject,
  findRepository,
  type Project,
  type Repository,
  type StoredManifest,
} from '../../catalog/index.ts';
import {
  AppError,
  type Caller,
  cursorOf,
  enqueue,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  type Route,
  readCursor,
  repositoryIn,
  routesFor,
  type Session,
  sortOf,
} from '../../platform/index.ts';
import type { LifecycleParts } from '../parts.ts';
import { heatOf, ticksAt } from './heat.ts';
import { findHeatClock, findImageHeat } from './heat-store.ts';
import { type Amounts, addTo, noAmounts } from './image-store.ts';
import { firstImage, type ImagePosition, listImages } from './images.ts';
import { findPins, pin, unpin, WHOLE_PROJECT } from './pins.ts';
import { blobsOfImage, type Placing } from './place.ts';
import { type PlacedLink, pageOfLinks, placedLink } from './plan-store.ts';
import { requireTiers } from './tiers-on.ts';
import { isoOrNull, rounded, ShareView, shareOf, TierName, Time } from './views.ts';
import { PLACE } from './words.ts';

/** Blobs of a repository that are counted; of a larger one the figures are of so many. */
const COUNTED = 100_000;
const PAGE = 1000;
/** Blobs that are shown with an image. */
const SHOWN = 500;

const OfProject = Type.Object({ project: Type.String({ maxLength: 128 }) });
const OfRepository = Type.Object({
  ...OfProject.properties,
  repository: Type.String({
    maxLength: 255,
    description: 'name without the project, / written as %2F; _ for the one named as the project',
  }),
});
const OfArtifact = Type.Object({ ...OfRepository.properties, reference: Type.String({ maxLength: 160, description: 'tag or digest' }) });

const PinnedBy = Type.Union([Type.Enum(['project', 'repository']), Type.Null()], { description: 'what keeps it hot whatever its heat' });
const RepositoryView = Type.Object({
  repository: Type.String({ description: 'full name' }),
  ...ShareView.properties,
  isComplete: Type.Boolean({ description: `false where it has more than ${COUNTED} blobs: then the sums are of so many` }),
  pinned: PinnedBy,
});
const HEAT = Type.Number({
  description: 'pulls of this image in this repository, each worth half as much after every half-life; without a record 0',
});
const ImageView = Type.Object({
  digest: Type.String(),
  heat: HEAT,
  pulledAt: Type.Union([Time, Type.Null()], { description: 'since heat is recorded' }),
  size: Type.Integer({ description: 'bytes of the manifest and all it needs' }),
});
const ArtifactView = Type.Object({
  digest: Type.String(),
  heat: HEAT,
  pulledAt: Type.Union([Time, Type.Null()]),
  ...ShareView.properties,
  blobs: Type.Array(Type.Object({ digest: Type.String(), size: Type.Integer(), tier: TierName, since: Type.Union([Time, Type.Null()]) }), {
    description: `what it needs, its children included; ${SHOWN} at most`,
  }),
});
const Wanted = Type.Object(
  {
    tier: Type.Enum(['hot', 'cold']),
    reference: Type.Optional(Type.String({ maxLength: 160, description: 'tag or digest of one image; absent: all of the repository' })),
  },
  { additionalProperties: false },
);

async function requireProject(session: Session, name: string): Promise<Project> {
  const project = await findProject(session, name);
  if (!project) throw new AppError('not_found', `there is no project ${name}`);
  return project;
}

async function requireRepository(session: Session, { project, repository }: Static<typeof OfRepository>): Promise<Repository> {
  const full = repositoryIn(project, repository);
  const found = await findRepository(session, full);
  if (!found) throw new AppError('not_found', `there is no repository ${full}`);
  return found;
}

async function requireManifest(session: Session, repository: Repository, reference: string): Promise<StoredManifest> {
  const found = parseDigest(reference)
    ? await findManifest(session, repository.id, reference)
    : isTag(reference)
      ? await findManifestByTag(session, repository.id, reference)
      : undefined;
  if (!found) throw new AppError('not_found', `there is no artifact ${reference} in ${repository.name}`);
  return found;
}

async function amountsOf(session: Session, repositoryId: number): Promise<{ amounts: Amounts; isComplete: boolean }> {
  const amounts = noAmounts();
  let counted = 0;
  for (let after = ''; ; ) {
    const links = await pageOfLinks(session, repositoryId, after, PAGE);
    for (const { tier, size } of links) addTo(amounts, tier, size);
    counted += links.length;
    after = links.at(-1)?.digest ?? after;
    if (links.length < PAGE) return { amounts, isComplete: true };
    if (counted >= COUNTED) return { amounts, isComplete: false };
    await turn();
  }
}

/**
 * Tiers of what is in a repository. Who may read it sees the heat of its images, not of their blobs: that counts reads in all
 * repositories, and would tell whether strangers have the same blob.
 */
export function repositoryTierRoutes({ database, tiers }: LifecycleParts): Route[] {
  const { read, change } = routesFor<Caller>();
  const common = { tag: 'Tiers' } as const;
  const of = '/projects/:project/repositories/:repository';

  async function pinnedBy(session: Session, { project, repository }: Static<typeof OfRepository>, id: number) {
    const { id: projectId } = await requireProject(session, project);
    const pins = await findPins(session, projectId, id);
    if (pins.length === 0) return { repository, pinned: null };
    return {
      repository,
      pinned: pins.some(({ repositoryId }) => repositoryId === WHOLE_PROJECT) ? ('project' as const) : ('repository' as const),
    };
  }

  return [
    read({
      ...common,
      method: 'GET',
      path: `${of}/tiers`,
      summary: 'Read in which tiers the blobs of a repository lie',
      permission: 'artifact:read',
      params: OfRepository,
      answer: RepositoryView,
      async handle({ params }) {
        const repository = await requireRepository(database, params);
        const { amounts, isComplete } = await amountsOf(database, repository.id);
        const { pinned } = await pinnedBy(database, params, repository.id);
        return { body: { repository: repository.name, ...shareOf(amounts), isComplete, pinned } };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: `${of}/tiers/artifacts`,
      summary: 'List the images of a repository by heat',
      description: 'Those that nobody pulled are the coldest, by age. A page may hold less than limit, and still go on.',
      permission: 'artifact:read',
      params: OfRepository,
      query: listQuery(['heat'], {}),
      answer: listOf(ImageView),
      async handle({ params, query: { limit = PAGE_DEFAULT, after, sort = '-heat' }, now }) {
        const { id: repositoryId } = await requireRepository(database, params);
        const { order } = sortOf(sort);
        const from = after === undefined ? firstImage(order) : positionOf(after);
        const { images, next } = await listImages(database, { repositoryId, order, from, limit });
        const clock = await findHeatClock(database);
        const heatNow = (score: number | null) => (clock && score !== null ? rounded(heatOf(score, ticksAt(clock, now))) : 0);
        return {
          body: {
            items: images.map(({ digest, score, pulledAt, size }) => ({
              digest,
              heat: heatNow(score),
              pulledAt: isoOrNull(pulledAt),
              size,
            })),
          },
          next: next && cursorOf(...next),
        };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: `${of}/artifacts/:reference/tiers`,
      summary: 'Read in which tiers an image lies, and how hot it is',
      permission: 'artifact:read',
      params: OfArtifact,
      answer: ArtifactView,
      async handle({ params, now }) {
        const repository = await requireRepository(database, params);
        const { digest } = await requireManifest(database, repository, params.reference);
        const amounts = noAmounts();
        const blobs: PlacedLink[] = [];
        for (const blob of (await blobsOfImage(database, repository.id, digest)).keys()) {
          const link = await placedLink(database, repository.id, blob);
          if (!link) continue;
          addTo(amounts, link.tier, link.size);
          if (blobs.length < SHOWN) blobs.push(link);
        }
        const heat = await findImageHeat(database, repository.id, digest);
        const clock = await findHeatClock(database);
        return {
          body: {
            digest,
            heat: heat && clock ? rounded(heatOf(heat.score, ticksAt(clock, now))) : 0,
            pulledAt: isoOrNull(heat?.pulledAt ?? null),
            ...shareOf(amounts),
            blobs: blobs.map((link) => ({ digest: link.digest, size: link.size, tier: link.tier ?? 'hot', since: isoOrNull(link.since) })),
          },
        };
      },
    }),
    ...(['repository', 'project'] as const).flatMap((what) => {
      const at = what === 'repository' ? of : '/projects/:project';
      const name = what === 'repository' ? 'a repository' : 'all repositories of a project';
      const params = what === 'repository' ? OfRepository : OfProject;
      const find = async (tx: Session, given: { project: string; repository?: string }) => {
        const project = await requireProject(tx, given.project);
        const { repository = '' } = given;
        const found = what === 'repository' ? await requireRepository(tx, { project: given.project, repository }) : undefined;
        const where = found ? { repository: found.name } : {};
        return {
          of: { projectId: project.id, repositoryId: found?.id ?? WHOLE_PROJECT },
          resource: { type: 'tier-pin', project: project.name, ...where },
        };
      };
      return [
        change({
          ...common,
          method: 'PUT',
          path: `${at}/tiers/pin`,
          summary: `Keep ${name} hot, whatever its heat`,
          description: 'What lies in the cold tier is brought back by the next run, as far as there is room.',
          permission: 'storage:manage',
          audit: 'tier-pin.create',
          params,
          async change(tx, call) {
            requireTiers(tiers);
            const { of: what, resource } = await find(tx, call.params);
            await pin(tx, { ...what, now: call.now, by: call.caller.actor.name });
            return { resource };
          },
        }),
        change({
          ...common,
          method: 'DELETE',
          path: `${at}/tiers/pin`,
          summary: `Let ${name} go by heat again`,
          permission: 'storage:manage',
          audit: 'tier-pin.delete',
          params,
          async change(tx, call) {
            const { of: what, resource } = await find(tx, call.params);
            if (!(await unpin(tx, what.projectId, what.repositoryId))) throw new AppError('not_found', 'it is not pinned');
            return { resource };
          },
        }),
      ];
    }),
    change({
      ...common,
      method: 'POST',
      path: `${of}/tiers/moves`,
      summary: 'Move a repository, or one image of it, to a tier now',
      description:
        'A job does it. To the cold tier goes only what no other repository, and of an image no other image, has; afterwards all goes by heat again, after the time for which what was moved rests.',
      permission: 'storage:manage',
      audit: 'tiers.place',
      params: OfRepository,
      body: Wanted,
      status: 202,
      answer: Type.Object({ job: Type.Integer({ description: 'to follow under `/jobs`' }) }),
      async change(tx, { params, body, caller, now }) {
        requireTiers(tiers);
        const repository = await requireRepository(tx, params);
        const digest = body.reference === undefined ? null : (await requireManifest(tx, repository, body.reference)).digest;
        const payload: Placing = { repositoryId: repository.id, digest, tier: body.tier, by: caller.actor.name };
        const job = await enqueue(tx, { kind: PLACE, key: `${repository.id} ${digest ?? 'all'}`, payload, now });
        const resource = {
          type: 'repository',
          project: params.project,
          repository: repository.name,
          ...(digest === null ? {} : { digest }),
        };
        return { body: { job }, resource, after: { tier: body.tier } };
      },
    }),
  ];
}

function positionOf(after: string): ImagePosition {
  const [list, at, digest] = readCursor(after, ['', 0, '']);
  if (list !== 'pulled' && list !== 'never') throw new AppError('pagination_invalid', 'after is not a position that a page gave');
  return [list, at, digest];
}
