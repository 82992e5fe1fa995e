export { DIGEST_ALGORITHMS, type Digest, type DigestAlgorithm, digestOf, isDigest, isDigestAlgorithm, parseDigest } from './digest.ts';
export type { OciErrorCode } from './error-codes.ts';
export { type ForwardReader, readForward } from './forward.ts';
export { type Descriptor, type Manifest, ManifestError, parseManifest } from './manifest.ts';
export { isNonDistributable, type ManifestKind, MEDIA_TYPE, manifestKind } from './media-types.ts';
export { isRepositoryName, isTag, NAME_MAX_LENGTH, projectOf, referrersTag, referrersTagSubjectPrefix } from './reference.ts';
export { type ReadAt, readTar, type TarEntry, TarError, TarLimitError, type TarLimits } from './tar.ts';
