import { createHash } from 'node:crypto';

export type Algorithm = 'sha256' | 'sha512';

export interface Blob {
  readonly bytes: Buffer;
  readonly algorithm: Algorithm;
  readonly digest: string;
}

export interface Manifest {
  readonly bytes: Buffer;
  readonly mediaType: string;
  readonly digests: Readonly<Record<Algorithm, string>>;
  /** Digests of what must be in the repository first. */
  readonly blobs: readonly string[];
  readonly children: readonly string[];
  readonly subject: string | undefined;
  readonly artifactType: string | undefined;
  readonly annotations: Readonly<Record<string, string>>;
}

export const BLOBS = ['empty', 'config', 'medium', 'large', 'wide'] as const;
export type BlobName = (typeof BLOBS)[number];
export const SHAPES = ['plain', 'big', 'bare', 'docker', 'pair', 'nest', 'signature', 'note', 'seal'] as const;
export type Shape = (typeof SHAPES)[number];
export const ARTIFACT_TYPE = 'application/vnd.example.signature';

/** Everything that one run pushes. Another run has other bytes, except for the empty blob, so runs do not meet. */
export interface Material {
  readonly blobs: Readonly<Record<BlobName, Blob>>;
  readonly manifests: Readonly<Record<Shape, Manifest>>;
}

/** Blobs that a repository is stocked with. */
export function stockOf({ blobs }: Material, large: boolean): readonly Blob[] {
  return Object.values(blobs).filter((blob) => large || blob !== blobs.large);
}

export function digestOf(bytes: Uint8Array | string, algorithm: Algorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

const OCI = 'application/vnd.oci.image';
const CONFIG = `${OCI}.config.v1+json`;

export function materialOf(run: string): Material {
  const bytesOf = (size: number, what: string) => {
    const seed = createHash('sha512').update(`${run} ${what}`).digest();
    return Buffer.alloc(size, seed);
  };
  const blob = (bytes: Buffer, algorithm: Algorithm = 'sha256'): Blob => ({ bytes, algorithm, digest: digestOf(bytes, algorithm) });
  const medium = bytesOf(70_000, 'medium');
  const blobs = {
    empty: blob(Buffer.alloc(0)),
    config: blob(bytesOf(100, 'config')),
    medium: blob(medium),
    large: blob(bytesOf(2_200_000, 'large')), // more than the server takes in one piece
    wide: blob(medium, 'sha512'),
  };

  const ofBlob = ({ bytes, digest }: Blob, mediaType = `${OCI}.layer.v1.tar`) => ({ mediaType, digest, size: bytes.length });
  const ofManifest = ({ bytes, mediaType, digests }: Manifest) => ({ mediaType, digest: digests.sha256, size: bytes.length });
  interface Body {
    readonly config?: Blob;
    readonly layers?: readonly Blob[];
    readonly manifests?: readonly Manifest[];
    readonly subject?: Manifest;
    readonly artifactType?: string;
  }
  function manifest(mediaType: string, name: string, { config, layers, manifests, subject, artifactType }: Body): Manifest {
    const annotations = { run, name };
    const bytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType,
        artifactType,
        config: config && ofBlob(config, CONFIG),
        layers: layers?.map((layer) => ofBlob(layer)),
        manifests: manifests?.map(ofManifest),
        subject: subject && ofManifest(subject),
        annotations,
      }),
    );
    return {
      bytes,
      mediaType,
      digests: { sha256: digestOf(bytes), sha512: digestOf(bytes, 'sha512') },
      blobs: [...(config ? [config] : []), ...(layers ?? [])].map(({ digest }) => digest),
      children: (manifests ?? []).map(({ digests }) => digests.sha256),
      subject: subject?.digests.sha256,
      artifactType: artifactType ?? (config && CONFIG),
      annotations,
    };
  }
  const image = (name: string, body: Body) => manifest(`${OCI}.manifest.v1+json`, name, body);
  const index = (name: string, body: Body) => manifest(`${OCI}.index.v1+json`, name, body);
  const { config, large, wide, empty } = blobs;
  const plain = image('plain', { config, layers: [blobs.medium] });
  const bare = image('bare', { config: empty, layers: [] });
  const pair = index('pair', { manifests: [plain, bare] });
  const signature = image('signature', { config, layers: [], subject: plain, artifactType: ARTIFACT_TYPE });
  return {
    blobs,
    manifests: {
      plain,
      big: image('big', { config, layers: [large, wide] }),
      bare,
      docker: manifest('application/vnd.docker.distribution.manifest.v2+json', 'docker', { config, layers: [blobs.medium] }),
      pair,
      nest: index('nest', { manifests: [pair] }),
      signature,
      note: index('note', { manifests: [], subject: plain }),
      seal: image('seal', { config, layers: [], subject: signature }),
    },
  };
}
