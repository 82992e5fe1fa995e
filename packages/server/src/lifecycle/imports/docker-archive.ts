import { digestOf, isTag, MEDIA_TYPE, parseManifest } from '@entrepot/oci';
import Type from 'typebox';
import Value from 'typebox/value';
import { type ImportParts, ImportProblem } from './blobs.ts';
import { type Imported, Importing, type ImportTarget, INDEX_MOST, tagIn } from './images.ts';
import type { ImageSource } from './source.ts';

const CONFIG_MOST = 16 << 20;
const LAYERS_MOST = 10_000;

const Path = Type.String({ minLength: 1, maxLength: 1024 });
const Manifest = Type.Array(
  Type.Object({
    Config: Path,
    RepoTags: Type.Optional(Type.Union([Type.Null(), Type.Array(Type.String({ maxLength: 1024 }), { maxItems: 1000 })])),
    Layers: Type.Union([Type.Null(), Type.Array(Path, { maxItems: LAYERS_MOST })]),
  }),
  { maxItems: 10_000 },
);
const Config = Type.Object({ rootfs: Type.Object({ diff_ids: Type.Optional(Type.Array(Type.String({ maxLength: 200 }))) }) });

/**
 * Imports what `docker save` wrote. Such an archive has no manifests: each image becomes an OCI image of its config and its
 * layers as they are, whose digests the config says.
 */
export async function importDockerArchive(parts: ImportParts, source: ImageSource, { repository, tag }: ImportTarget): Promise<Imported> {
  const going = new Importing(parts, source, repository);
  await going.attempt('manifest.json', async () => {
    const images = parsed(await going.read('manifest.json', INDEX_MOST), 'manifest.json');
    if (!Value.Check(Manifest, images)) throw new ImportProblem('manifest.json is not what docker save writes');
    if (tag !== undefined && images.length !== 1) throw new ImportProblem(`it has ${images.length} images; a tag can be given for one`);
    for (const { Config: config, RepoTags, Layers } of images) {
      const tags = tag === undefined ? (RepoTags ?? []).map(tagIn).filter((name) => name !== undefined && isTag(name)) : [tag];
      await going.attempt(config, async () => {
        await importOne(going, config, Layers ?? [], [...new Set(tags)] as string[]);
        going.images++;
      });
    }
  });
  return going.result;
}

async function importOne(going: Importing, configPath: string, layers: readonly string[], tags: readonly string[]): Promise<void> {
  const bytes = await going.read(configPath, CONFIG_MOST);
  const digest = digestOf(bytes);
  const named = /([0-9a-f]{64})(\.json)?$/.exec(configPath)?.[1];
  if (named !== undefined && digest !== `sha256:${named}`) throw new ImportProblem(`the bytes of ${configPath} have ${digest}`);
  const config = parsed(bytes, configPath);
  const diffIds = Value.Check(Config, config) ? (config.rootfs.diff_ids ?? []) : undefined;
  if (diffIds?.length !== layers.length) throw new ImportProblem(`${configPath} and manifest.json disagree on the layers`);
  const descriptors: { mediaType: string; digest: string; size: number }[] = [];
  for (const [index, path] of layers.entries()) {
    const layer = diffIds[index] ?? '';
    await going.blob(layer, path);
    descriptors.push({ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layer, size: await sizeOf(going, path) });
  }
  await going.blob(digest, configPath);
  const mediaType = MEDIA_TYPE.ociManifest;
  const described = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: bytes.length };
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config: described, layers: descriptors }));
  await going.put(digestOf(manifest), manifest, parseManifest(manifest, mediaType), tags);
}

async function sizeOf({ source }: Importing, path: string): Promise<number> {
  const reader = await source.open(path);
  await reader?.close();
  if (!reader) throw new ImportProblem(`${path} is not there`);
  return reader.size;
}

function parsed(bytes: Uint8Array, path: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new ImportProblem(`${path} is no JSON`, { cause });
  }
}
