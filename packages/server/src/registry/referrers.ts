import { isDigest, MEDIA_TYPE, referrersTagSubjectPrefix } from '@entrepot/oci';
import { findRepository, pageOfReferrers, subjectWithPrefix } from '../catalog/index.ts';
import { AppError, type Session } from '../platform/index.ts';
import { answerJson, type Call, nextLink } from './http.ts';
import type { RegistryParts } from './parts.ts';

const PAGE = 500;
/** Descriptors carry annotations: a page ends early at this size, as clients limit an index. */
const PAGE_BYTES = 3 << 20;
const FALLBACK_MOST = 8000;

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Record<string, string>;
}

interface ReferrersPage {
  readonly index: { readonly schemaVersion: 2; readonly mediaType: string; readonly manifests: readonly Descriptor[] };
  /** Digest after which the next page begins; undefined at the end. */
  readonly next: string | undefined;
}

/** One page of what refers to a digest, `most` at a time, as an image index. */
async function referrersIndex(
  session: Session,
  from: { repositoryId: number; subject: string; artifactType: string; last: string },
  most: number,
): Promise<ReferrersPage> {
  const rows = await pageOfReferrers(session, { ...from, limit: most + 1 });
  const manifests: Descriptor[] = [];
  let bytes = 0;
  for (const { digest, mediaType, size, artifactType, annotations } of rows) {
    bytes += (annotations?.length ?? 0) + 400;
    if (manifests.length > 0 && (manifests.length === most || bytes > PAGE_BYTES)) break;
    manifests.push({
      mediaType,
      digest,
      size,
      ...(artifactType === null ? {} : { artifactType }),
      ...(annotations === null ? {} : { annotations: JSON.parse(annotations) as Record<string, string> }),
    });
  }
  const next = manifests.length < rows.length ? manifests.at(-1)?.digest : undefined;
  return { index: { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests }, next };
}

/**
 * What a tag of the fallback schema holds while nobody pushed one: the referrers of its digest (distribution-spec,
 * "Referrers tag schema"). An index has no pages, so all of them, up to what clients read as one manifest.
 */
export async function fallbackIndex(session: Session, repositoryId: number, tag: string): Promise<Buffer | undefined> {
  const prefix = referrersTagSubjectPrefix(tag);
  const subject = prefix && (await subjectWithPrefix(session, repositoryId, prefix));
  if (!subject) return undefined;
  const { index } = await referrersIndex(session, { repositoryId, subject, artifactType: '', last: '' }, FALLBACK_MOST);
  return Buffer.from(JSON.stringify(index));
}

/** end-12: never 404; an unknown repository or digest has no referrers. */
export function createReferrersHandler({ database }: RegistryParts): (call: Call) => Promise<void> {
  return async ({ response, name, reference, query }) => {
    if (!isDigest(reference)) throw new AppError('digest_invalid', 'the digest is not a sha256 or sha512 digest');
    const last = query.get('last') ?? '';
    if (last !== '' && !isDigest(last)) throw new AppError('pagination_invalid', 'last must be a digest');
    const artifactType = query.get('artifactType') ?? '';
    const repository = await findRepository(database, name);
    const from = { repositoryId: repository?.id ?? 0, subject: reference, artifactType, last };
    const { index, next } = await referrersIndex(database, from, PAGE);
    const headers = ['Content-Type', MEDIA_TYPE.ociIndex];
    if (artifactType !== '') headers.push('OCI-Filters-Applied', 'artifactType');
    if (next) {
      const filter = artifactType === '' ? undefined : artifactType;
      headers.push(...nextLink(`/v2/${name}/referrers/${reference}`, { artifactType: filter, last: next }));
    }
    answerJson(response, 200, index, headers);
  };
}
