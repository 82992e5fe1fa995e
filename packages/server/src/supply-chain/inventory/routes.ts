import { isDigest, isTag, NAME_MAX_LENGTH } from '@entrepot/oci';
import Type, { type Static } from 'typebox';
import { findBlob, findManifest, findManifestByTag, findRepository } from '../../catalog/index.ts';
import {
  AppError,
  type Caller,
  cancelJob,
  enqueue,
  findJobByKey,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  pageOf,
  type Route,
  readCursor,
  repositoryIn,
  routesFor,
  type Session,
} from '../../platform/index.ts';
import { supportOf } from './end-of-life.ts';
import { READ_LAYER } from './format.ts';
import { findImage, forgetWaiting, type ImageRow, layersOf, wantAgain } from './image-store.ts';
import { layerContent, newestLayer } from './layer-store.ts';
import { COMPONENT_TYPES, type Component, type Incomplete } from './model.ts';
import { imageInventory } from './settle.ts';
import { kindOfStored, wantInventory } from './wanting.ts';

const ProjectName = Type.String({ maxLength: 128 });
const RepositoryName = Type.String({
  maxLength: NAME_MAX_LENGTH,
  description: 'name without the project, / written as %2F; _ for the repository that is named as the project',
});
const OfArtifact = Type.Object({
  project: ProjectName,
  repository: RepositoryName,
  reference: Type.String({ maxLength: 160, description: 'tag or digest' }),
});
const OfLayer = Type.Object({ project: ProjectName, repository: RepositoryName, digest: Type.String({ maxLength: 160 }) });

const State = Type.Enum(['none', 'waiting', 'complete', 'incomplete', 'empty', 'index'], {
  description:
    'none: nobody asked; waiting: layers are still to be read; incomplete: `reasons` say what is not known; empty: no image, `reasons` say what; index: see `children`',
});
const Count = Type.Integer({ minimum: 0 });
const LayerView = Type.Object({
  digest: Type.String(),
  state: Type.Enum(['waiting', 'complete', 'incomplete', 'absent', 'unscannable']),
  reason: Type.Optional(Type.String()),
});
const InventoryView = Type.Object({
  digest: Type.String(),
  state: State,
  reasons: Type.Array(Type.String()),
  madeAt: Type.Union([Type.String({ format: 'date-time' }), Type.Null()]),
  components: Count,
  os: Type.Optional(
    Type.Object({
      id: Type.String(),
      version: Type.String(),
      name: Type.String(),
      support: Type.Enum(['supported', 'extended', 'ended', 'rolling', 'unknown'], {
        description: 'extended: by volunteers; ended: nobody mends it any more, or only who is paid; rolling: it has no releases',
      }),
      end: Type.Optional(Type.String({ description: 'end of updates for everybody' })),
      paidUntil: Type.Optional(Type.String()),
    }),
  ),
  layers: Type.Array(LayerView, { description: 'from the bottom' }),
  children: Type.Array(Type.Object({ digest: Type.String(), state: State, components: Count }), { description: 'of an index' }),
});
const ComponentView = {
  type: Type.Enum([...COMPONENT_TYPES]),
  name: Type.String(),
  version: Type.String(),
  arch: Type.Optional(Type.String()),
  source: Type.Optional(
    Type.Object({ name: Type.String(), version: Type.String() }, { description: 'what it was built from, where that is another' }),
  ),
  modularity: Type.Optional(Type.String()),
  licences: Type.Array(Type.String()),
  foundBy: Type.String(),
};
const InstalledView = Type.Object({
  ...ComponentView,
  paths: Type.Array(Type.String()),
  layer: Type.Object({ digest: Type.String(), index: Count }, { description: 'which last wrote what says so; counted from the bottom' }),
});
const LayerInventoryView = Type.Object({
  digest: Type.String(),
  diffId: Type.Union([Type.String(), Type.Null()]),
  state: Type.Enum(['complete', 'incomplete']),
  reason: Type.Optional(Type.String()),
  madeAt: Type.Union([Type.String({ format: 'date-time' }), Type.Null()]),
  seconds: Type.Number(),
  bytes: Type.Integer({ description: 'of its archive' }),
  entries: Count,
  components: Count,
});
const InLayer = Type.Object({ ...ComponentView, path: Type.String() });

const FILTERS = {
  type: Type.Optional(Type.Enum([...COMPONENT_TYPES])),
  name: Type.Optional(Type.String({ maxLength: 512, description: 'only those whose name, or that of their source, holds this text' })),
  layer: Type.Optional(Type.String({ maxLength: 160, description: 'only those of the layer with this digest' })),
};

/** A manifest of a repository, by tag or digest. Throws `not_found`. */
async function requireDigest(session: Session, { project, repository, reference }: Static<typeof OfArtifact>): Promise<string> {
  const name = repositoryIn(project, repository);
  const found = await findRepository(session, name);
  const stored = !found
    ? undefined
    : isDigest(reference)
      ? await findManifest(session, found.id, reference)
      : isTag(reference)
        ? await findManifestByTag(session, found.id, reference)
        : undefined;
  if (!stored) throw new AppError('not_found', `there is no artifact ${reference} in ${name}`);
  return stored.digest;
}

function textOf(why: Incomplete): string {
  return why.reason === 'limit' ? `it goes beyond the limit of ${why.limit}` : why.detail;
}

function reasonsOf({ state, reason }: ImageRow): string[] {
  if (reason === null) return [];
  if (state === 'empty') return [reason];
  return (JSON.parse(reason) as { layer: string; why: Incomplete }[]).map(({ layer, why }) => `${layer}: ${textOf(why)}`);
}

async function layerViews(session: Session, image: ImageRow): Promise<Static<typeof LayerView>[]> {
  const views: Static<typeof LayerView>[] = [];
  for (const { digest, layerId, problem, state } of await layersOf(session, image.id)) {
    if (layerId === null) {
      views.push({ digest, state: 'unscannable', reason: problem });
      continue;
    }
    const done = state === 'done' ? await newestLayer(session, digest) : undefined;
    const why = done?.incomplete ? (JSON.parse(done.incomplete) as Incomplete) : undefined;
    views.push({
      digest,
      state: state === 'absent' ? 'absent' : !done ? 'waiting' : why ? 'incomplete' : 'complete',
      ...(why ? { reason: textOf(why) } : {}),
    });
  }
  return views;
}

function osOf({ osId, osVersion, osName }: ImageRow, now: number): Pick<Static<typeof InventoryView>, 'os'> {
  if (osId === '') return {};
  const { state, ...ends } = supportOf({ id: osId, versionId: osVersion, idLike: [], prettyName: osName }, now);
  return { os: { id: osId, version: osVersion, name: osName, support: state, ...ends } };
}

async function viewOf(session: Session, digest: string, now: number): Promise<Static<typeof InventoryView>> {
  const none = { digest, reasons: [], madeAt: null, components: 0, layers: [], children: [] };
  const image = await findImage(session, digest);
  if (image) {
    const madeAt = image.madeAt === null ? null : new Date(image.madeAt).toISOString();
    const { state, components } = image;
    return { ...none, state, reasons: reasonsOf(image), madeAt, components, ...osOf(image, now), layers: await layerViews(session, image) };
  }
  const kind = await kindOfStored(session, digest);
  if (kind?.kind !== 'index') return { ...none, state: 'none' };
  const children: Static<typeof InventoryView>['children'] = [];
  for (const child of kind.children) {
    const known = await findImage(session, child);
    children.push({ digest: child, state: known?.state ?? 'none', components: known?.components ?? 0 });
  }
  return { ...none, state: 'index', children };
}

function shown({ symbols: _, licences, ...component }: Component) {
  return { ...component, licences: [...licences] };
}

function matches({ type, name }: { type?: string; name?: string }): (component: Component) => boolean {
  const text = name?.toLowerCase();
  return (component) =>
    (type === undefined || component.type === type) &&
    (text === undefined || component.name.toLowerCase().includes(text) || component.source?.name.toLowerCase().includes(text) === true);
}

/** What images hold. */
export function inventoryRoutes({ database }: { readonly database: Session }): Route[] {
  const { read, change } = routesFor<Caller>();
  const common = { tag: 'Inventory' } as const;
  const artifact = '/projects/:project/repositories/:repository/artifacts/:reference';
  const layer = '/projects/:project/repositories/:repository/layers/:digest/inventory';

  async function requireLayer(params: Static<typeof OfLayer>) {
    const name = repositoryIn(params.project, params.repository);
    const repository = await findRepository(database, name);
    const isThere = repository && isDigest(params.digest) && (await findBlob(database, repository.id, params.digest));
    const row = isThere ? await newestLayer(database, params.digest) : undefined;
    if (!row) throw new AppError('not_found', `there is no inventory of a layer ${params.digest} in ${name}`);
    return row;
  }

  return [
    read({
      ...common,
      method: 'GET',
      path: `${artifact}/inventory`,
      summary: 'Read what is known of an image: its operating system, how many components, and what is not known',
      permission: 'scan:read',
      params: OfArtifact,
      answer: InventoryView,
      async handle({ params, now }) {
        return { body: await viewOf(database, await requireDigest(database, params), now) };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: `${artifact}/inventory/components`,
      summary: 'List what is installed in an image, by type, name and version',
      description: 'Of an image whose layers were not all read yet there is no list; of an incomplete one it holds what was found.',
      permission: 'scan:read',
      params: OfArtifact,
      query: listQuery(['name'], FILTERS),
      answer: listOf(InstalledView),
      async handle({ params, query: { limit = PAGE_DEFAULT, after, sort, layer: ofLayer, ...filters } }) {
        const digest = await requireDigest(database, params);
        const image = await findImage(database, digest);
        if (image?.state !== 'complete' && image?.state !== 'incomplete')
          throw new AppError('not_found', `there is no inventory of ${digest} yet`);
        const { components } = await imageInventory(database, image);
        const [from] = after === undefined ? [0] : readCursor(after, [0] as const);
        const isOne = matches(filters);
        const numbered = components.map((component, index) => ({ component, index }));
        const ordered = sort === '-name' ? numbered.toReversed().map(({ component }, index) => ({ component, index })) : numbered;
        const chosen = ordered
          .slice(from)
          .filter(({ component }) => isOne(component) && (ofLayer === undefined || component.layer.digest === ofLayer));
        const { items, next } = pageOf(chosen.slice(0, limit + 1), limit, ({ index }) => [index + 1]);
        return {
          body: { items: items.map(({ component }) => ({ ...shown(component), paths: [...component.paths], layer: component.layer })) },
          next,
        };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: layer,
      summary: 'Read what is known of a layer by itself',
      permission: 'scan:read',
      params: OfLayer,
      answer: LayerInventoryView,
      async handle({ params }) {
        const { digest, diffId, incomplete, madeAt, durationMs, bytes, entries, components } = await requireLayer(params);
        const why = incomplete === null ? undefined : (JSON.parse(incomplete) as Incomplete);
        const facts = { digest, diffId, bytes, entries, components, seconds: durationMs / 1000 };
        const state = { state: why ? ('incomplete' as const) : ('complete' as const), ...(why ? { reason: textOf(why) } : {}) };
        return { body: { ...facts, ...state, madeAt: madeAt === null ? null : new Date(madeAt).toISOString() } };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: `${layer}/components`,
      summary: 'List what the files of a layer say is installed, whatever lies below or above it',
      permission: 'scan:read',
      params: OfLayer,
      query: listQuery(['path'], { type: FILTERS.type, name: FILTERS.name }),
      answer: listOf(InLayer),
      async handle({ params, query: { limit = PAGE_DEFAULT, after, sort, ...filters } }) {
        const content = await layerContent(database, (await requireLayer(params)).id);
        const all = (content?.evidence ?? []).flatMap(({ path, inside, components }) =>
          components.map((component) => ({ component, path: inside === undefined ? path : `${path}!/${inside}` })),
        );
        const [from] = after === undefined ? [0] : readCursor(after, [0] as const);
        const isOne = matches(filters);
        const chosen = (sort === '-path' ? all.toReversed() : all)
          .map((each, index) => ({ ...each, index }))
          .slice(from)
          .filter(({ component }) => isOne(component));
        const { items, next } = pageOf(chosen.slice(0, limit + 1), limit, ({ index }) => [index + 1]);
        return { body: { items: items.map(({ component, path }) => ({ ...shown(component), path })) }, next };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: `${artifact}/scan`,
      summary: 'Have an image read now; an index with all its images',
      description: 'What was read before is not read again, unless it is incomplete or its bytes were not here.',
      permission: 'scan:run',
      audit: 'scan.start',
      params: OfArtifact,
      status: 202,
      answer: Type.Object({ digest: Type.String(), state: State }),
      async change(tx, { params, now }) {
        const digest = await requireDigest(tx, params);
        const kind = await kindOfStored(tx, digest);
        if (!kind) throw new AppError('not_found', `the bytes of ${digest} cannot be read`);
        for (const each of kind.kind === 'index' ? kind.children : [digest]) {
          const found = each === digest ? kind : await kindOfStored(tx, each);
          if (!found) continue;
          await wantInventory(tx, each, found, now);
          const image = await findImage(tx, each);
          for (const unsound of image ? await wantAgain(tx, image.id) : [])
            await enqueue(tx, { kind: READ_LAYER, key: unsound, payload: { digest: unsound }, now });
        }
        const state: Static<typeof State> = (await findImage(tx, digest))?.state ?? (kind.kind === 'index' ? 'index' : 'none');
        return { body: { digest, state }, resource: resourceOf(params, digest) };
      },
    }),
    change({
      ...common,
      method: 'DELETE',
      path: `${artifact}/scan`,
      summary: 'Stop reading an image: layers that no other image waits for are not read',
      permission: 'scan:run',
      audit: 'scan.stop',
      params: OfArtifact,
      async change(tx, { params, now }) {
        const digest = await requireDigest(tx, params);
        const image = await findImage(tx, digest);
        if (image?.state !== 'waiting') throw new AppError('conflict', `${digest} is not being read`);
        for (const own of await forgetWaiting(tx, image)) {
          const job = await findJobByKey(tx, READ_LAYER, own);
          if (job) await cancelJob(tx, job.id, now);
        }
        return { resource: resourceOf(params, digest) };
      },
    }),
  ];
}

function resourceOf({ project, repository }: { project: string; repository: string }, digest: string) {
  return { type: 'scan', project, repository: repositoryIn(project, repository), digest };
}
