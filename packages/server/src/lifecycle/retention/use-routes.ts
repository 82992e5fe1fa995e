import Type, { type Static } from 'typebox';
import { findManifest, findRepository, indexesOf } from '../../catalog/index.ts';
import {
  AppError,
  type Caller,
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
import { forgetUnseen, noteUse, pageOfUses, type Use } from './uses.ts';

const HOUR_MS = 3_600_000;
/** Indexes that hold one manifest and are noted with it. */
const INDEXES = 20;

const Source = Type.String({ minLength: 1, maxLength: 100, pattern: '^[^\\p{C}]+$', description: 'where, such as the name of a cluster' });
const OfRepository = Type.Object({ project: Type.String({ maxLength: 128 }), repository: Type.String({ maxLength: 255 }) });
const Uses = Type.Object(
  {
    source: Source,
    digests: Type.Array(Type.String({ maxLength: 160 }), { maxItems: 500, uniqueItems: true }),
    expiresInHours: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 9600,
        description: 'after which it counts no more, unless it is told again; absent: as rules say',
      }),
    ),
    complete: Type.Optional(
      Type.Boolean({
        default: false,
        description: 'these are all that the source runs of the repository: what it told before is forgotten',
      }),
    ),
  },
  { additionalProperties: false },
);
const UsesTold = Type.Object({
  known: Type.Integer({ description: 'how many of them are in the repository' }),
  forgotten: Type.Integer({ description: 'how many that the source told before and not now were forgotten' }),
});
const UseView = Type.Object({
  source: Type.String(),
  digest: Type.String(),
  seenAt: Type.String({ format: 'date-time' }),
  expiresAt: Type.Union([Type.String({ format: 'date-time' }), Type.Null()]),
});

const viewOf = ({ source, digest, seenAt, expiresAt }: Use): Static<typeof UseView> => ({
  ...{ source, digest, seenAt: new Date(seenAt).toISOString() },
  expiresAt: expiresAt === null ? null : new Date(expiresAt).toISOString(),
});

async function requireRepository(session: Session, { project, repository }: Static<typeof OfRepository>) {
  const name = repositoryIn(project, repository);
  const found = await findRepository(session, name);
  if (!found) throw new AppError('not_found', `there is no repository ${name}`);
  return { id: found.id, name };
}

/** What a rule `inUse` keeps: clients tell what runs where, as often as they like. */
export function useRoutes(database: Session): Route[] {
  const { read, change } = routesFor<Caller>();
  const common = { path: '/projects/:project/repositories/:repository/uses', tag: 'Retention', params: OfRepository } as const;
  return [
    read({
      ...common,
      method: 'GET',
      summary: 'List what was told to be in use, by source and digest',
      permission: 'retention:read',
      query: listQuery([], {}),
      answer: listOf(UseView),
      async handle({ params, query: { limit = PAGE_DEFAULT, after } }) {
        const { id: repositoryId } = await requireRepository(database, params);
        const [source, digest] = after === undefined ? ['', ''] : readCursor(after, ['', '']);
        const rows = await pageOfUses(database, { repositoryId, source, digest, limit: limit + 1 });
        const { items, next } = pageOf(rows, limit, (use) => [use.source, use.digest]);
        return { body: { items: items.map(viewOf) }, next };
      },
    }),
    change({
      ...common,
      method: 'POST',
      summary: 'Tell that artifacts are in use somewhere, for the retention rule inUse',
      description: 'Of a manifest that belongs to indexes these are in use too: nodes tell what they run, tags lead to indexes.',
      permission: 'tag:create',
      audit: 'artifact.use',
      body: Uses,
      answer: UsesTold,
      async change(tx, { params, body: { source, digests, expiresInHours, complete = false }, now }) {
        const { id: repositoryId, name: repository } = await requireRepository(tx, params);
        const expiresAt = expiresInHours === undefined ? null : now + expiresInHours * HOUR_MS;
        const use = { repositoryId, source, now, expiresAt };
        let known = 0;
        for (const digest of digests) {
          if (!(await findManifest(tx, repositoryId, digest))) continue;
          known++;
          await noteUse(tx, { ...use, digest });
          for (const index of await indexesOf(tx, repositoryId, digest, INDEXES)) await noteUse(tx, { ...use, digest: index });
        }
        const forgotten = complete ? await forgetUnseen(tx, use) : 0;
        return {
          body: { known, forgotten },
          resource: { type: 'artifact', project: params.project, repository },
          after: { source, known, ...(complete ? { forgotten } : {}) },
        };
      },
    }),
  ];
}
