import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DIGEST_ALGORITHMS, digestOf } from './digest.ts';
import { type Descriptor, ManifestError, parseManifest } from './manifest.ts';
import { isNonDistributable, MEDIA_TYPE, manifestKind } from './media-types.ts';

type Json = Record<string, unknown>;

const digest = fc.tuple(fc.nat(50), fc.constantFrom(...DIGEST_ALGORITHMS)).map(([n, algorithm]) => digestOf(`${n}`, algorithm));
const annotations = fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 });
const described = (mediaType: fc.Arbitrary<string>) =>
  fc.record(
    { mediaType, digest, size: fc.maxSafeNat(), annotations, urls: fc.constant(['https://host/']), platform: fc.constant({ os: 'linux' }) },
    { requiredKeys: ['mediaType', 'digest', 'size'] },
  );
const layer = described(
  fc.constantFrom(
    'application/vnd.oci.image.layer.v1.tar+gzip',
    'application/vnd.oci.image.layer.nondistributable.v1.tar',
    'application/vnd.wasm.content.layer.v1+wasm',
    'text/plain',
  ),
);
const config = described(fc.constantFrom('application/vnd.oci.image.config.v1+json', 'application/vnd.oci.empty.v1+json'));
const member = described(fc.constantFrom(...Object.values(MEDIA_TYPE), 'application/vnd.oci.image.layer.v1.tar'));
const common = {
  artifactType: fc.constantFrom('application/example', ''),
  annotations: fc.oneof(annotations, fc.constant(null)),
  subject: fc.oneof(described(fc.constant(MEDIA_TYPE.ociManifest)), fc.constant(null)),
  unknownField: fc.jsonValue({ maxDepth: 2 }),
};
const version = fc.constant(2);
const image = fc.record(
  {
    schemaVersion: version,
    mediaType: fc.constantFrom(MEDIA_TYPE.ociManifest, MEDIA_TYPE.dockerManifest),
    config,
    layers: fc.array(layer),
    ...common,
  },
  { requiredKeys: ['schemaVersion', 'mediaType', 'config', 'layers'] },
);
const index = fc.record(
  {
    schemaVersion: version,
    mediaType: fc.constantFrom(MEDIA_TYPE.ociIndex, MEDIA_TYPE.dockerList),
    manifests: fc.array(member),
    ...common,
  },
  { requiredKeys: ['schemaVersion', 'mediaType', 'manifests'] },
);
const artifact = fc.record(
  { mediaType: fc.constant(MEDIA_TYPE.ociArtifact), blobs: fc.array(layer), ...common },
  { requiredKeys: ['mediaType'] },
);
const manifest: fc.Arbitrary<Json> = fc.oneof(image, index, artifact);

const bytesOf = (value: Json) => Buffer.from(JSON.stringify(value));
const plain = ({ mediaType, digest, size }: Descriptor) => ({ mediaType, digest, size });
const listOf = (value: unknown) => (value ?? []) as Descriptor[];

describe('valid manifests', () => {
  it('are read, with all that they refer to', () => {
    fc.assert(
      fc.property(manifest, fc.boolean(), (value, withHeader) => {
        const found = parseManifest(bytesOf(value), withHeader ? (value.mediaType as string) : undefined);
        const members = listOf(value.manifests);
        const isChild = ({ mediaType }: Descriptor) => manifestKind(mediaType) !== undefined;
        const needed = [
          ...listOf(value.config === undefined ? [] : [value.config]),
          ...listOf(value.layers),
          ...listOf(value.blobs),
          ...members.filter((one) => !isChild(one)),
        ].filter(({ mediaType }) => !isNonDistributable(mediaType));
        expect(found.mediaType).toBe(value.mediaType);
        expect(found.blobs).toEqual(needed.map(plain));
        expect(found.children).toEqual(members.filter(isChild).map(plain));
        expect(found.subject).toEqual(value.subject ? plain(value.subject as Descriptor) : undefined);
        expect(found.annotations).toEqual(value.annotations ?? undefined);
        const configType = (value.config as Descriptor | undefined)?.mediaType;
        expect(found.artifactType).toBe(value.artifactType || configType);
      }),
      { numRuns: 500 },
    );
  });

  it('may leave their media type to the header, or to what they hold', () => {
    fc.assert(
      fc.property(fc.oneof(image, index), ({ mediaType, ...rest }) => {
        expect(parseManifest(bytesOf(rest), mediaType).mediaType).toBe(mediaType);
        expect(parseManifest(bytesOf(rest), undefined).kind).toBe(manifestKind(mediaType));
      }),
    );
  });
});

/** Places where a descriptor is. */
function descriptorsOf(value: Json): Json[] {
  const single = [value.config, value.subject].filter((one) => one !== undefined && one !== null);
  return [...single, ...listOf(value.layers), ...listOf(value.blobs), ...listOf(value.manifests)] as Json[];
}

/** Signs that Go's JSON reader takes for a letter of a key. */
const FOLDED: Readonly<Record<string, string>> = { s: '\u017f', k: '\u212a' };

/** Spells one letter so that programs which ignore case read the same key. */
const otherCase = (key: string, at: number) => {
  const place = at % key.length;
  const letter = key.charAt(place);
  const other = letter === letter.toUpperCase() ? letter.toLowerCase() : letter.toUpperCase();
  return key.slice(0, place) + (at % 2 === 0 ? (FOLDED[letter] ?? other) : other) + key.slice(place + 1);
};

const notText = fc.constantFrom<unknown>(1, true, null, [], {}, undefined);
const notSize = fc.constantFrom<unknown>(-1, 0.5, '5', null, 2 ** 53, 1e300, [], undefined);
const notDigest = fc.constantFrom<unknown>('', 'sha256:', `sha256:${'A'.repeat(64)}`, `md5:${'a'.repeat(32)}`, 7, null, undefined);
const notObject = fc.constantFrom<unknown>('text', 1, [], [[]], true);
const notArray = fc.constantFrom<unknown>('text', 1, {}, null, true);

/** Each changes one place of a valid manifest, or gives undefined where it has no such place. */
const MUTATIONS: Record<string, (value: Json, pick: fc.GeneratorValue) => Json | string | undefined> = {
  'no version': ({ schemaVersion: _, ...rest }) => (rest.mediaType === MEDIA_TYPE.ociArtifact ? undefined : rest),
  'another version': (value, pick) =>
    value.mediaType === MEDIA_TYPE.ociArtifact ? undefined : { ...value, schemaVersion: pick(fc.constantFrom, 1, 3, '2', null, [2]) },
  'an unknown type': (value, pick) => ({ ...value, mediaType: pick(fc.constantFrom, 'text/plain', 'application/json', 7, null) }),
  'fields of another kind': (value, pick) => {
    const own = {
      image: ['manifests', 'blobs', 'fsLayers', 'signatures'],
      index: ['config', 'layers', 'blobs', 'fsLayers'],
      artifact: ['config', 'layers', 'manifests'],
    };
    const kind = manifestKind(value.mediaType as string) ?? 'image';
    return { ...value, [pick(fc.constantFrom, ...own[kind])]: pick(fc.constantFrom, [], null, {}, 'x') };
  },
  'what it needs is absent': (value, pick) => {
    const needed = { image: ['config', 'layers'], index: ['manifests'], artifact: [] }[manifestKind(value.mediaType as string) ?? 'image'];
    return needed.length === 0 ? undefined : { ...value, [pick(fc.constantFrom, ...needed)]: undefined };
  },
  'a list that is none': (value, pick) => {
    const list = ['layers', 'manifests', 'blobs'].find((field) => value[field] !== undefined);
    // An artifact without blobs may say so with null.
    return list === undefined
      ? undefined
      : { ...value, [list]: pick(() => (list === 'blobs' ? notArray.filter((x) => x !== null) : notArray)) };
  },
  'a descriptor that is none': (value, pick) => {
    const list = ['layers', 'manifests', 'blobs'].find((field) => listOf(value[field]).length > 0);
    return list === undefined ? undefined : { ...value, [list]: [...listOf(value[list]), pick(() => notObject)] };
  },
  'a subject that is none': (value, pick) => ({ ...value, subject: pick(() => notObject) }),
  'a wrong digest': (value, pick) => changeDescriptor(value, pick, (one) => (one.digest = pick(() => notDigest))),
  'a wrong size': (value, pick) => changeDescriptor(value, pick, (one) => (one.size = pick(() => notSize))),
  'a wrong type in a descriptor': (value, pick) =>
    changeDescriptor(value, pick, (one) => (one.mediaType = pick(() => fc.oneof(notText, fc.constant('x'.repeat(256)))))),
  'a field in another case': (value, pick) => {
    const key = pick(fc.constantFrom, ...Object.keys(value).filter((name) => name !== 'unknownField'));
    return { ...value, [otherCase(key, pick(fc.nat))]: value[key] };
  },
  'a field of a descriptor in another case': (value, pick) =>
    changeDescriptor(value, pick, (one) => {
      const key = pick(fc.constantFrom, 'mediaType', 'digest', 'size');
      one[otherCase(key, pick(fc.nat))] = one[key];
    }),
  'a key twice': (value, pick) => {
    const key = pick(fc.constantFrom, ...Object.keys(value));
    return `{${JSON.stringify(key)}:${JSON.stringify(value[key] ?? null)},${JSON.stringify(value).slice(1)}`;
  },
  'annotations that are none': (value, pick) => ({ ...value, annotations: pick(fc.constantFrom, [], 'x', 1, { a: null }, { a: ['b'] }) }),
  'an artifact type that is none': (value, pick) => ({ ...value, artifactType: pick(fc.constantFrom, 1, null, [], 'x'.repeat(256)) }),
  'bytes after the end': (value, pick) => `${JSON.stringify(value)}${pick(fc.constantFrom, 'x', '{}', ',', '\0', ']')}`,
  'a byte order mark': (value) => `\ufeff${JSON.stringify(value)}`,
  'an end too early': (value, pick) => {
    const text = JSON.stringify(value);
    return text.slice(0, pick(fc.nat, { max: text.length - 1 }));
  },
};

function changeDescriptor(value: Json, pick: fc.GeneratorValue, change: (one: Json) => void): Json | undefined {
  const copy = structuredClone(value);
  const all = descriptorsOf(copy);
  if (all.length === 0) return undefined;
  change(all[pick(fc.nat, { max: all.length - 1 })] as Json);
  return copy;
}

describe('a valid manifest with one mistake is refused', () => {
  it.each(Object.entries(MUTATIONS))('%s', (_, mutate) => {
    let tried = 0;
    fc.assert(
      fc.property(manifest, fc.gen(), (value, pick) => {
        const mutant = mutate(value, pick);
        fc.pre(mutant !== undefined);
        tried++;
        const bytes = typeof mutant === 'string' ? Buffer.from(mutant) : bytesOf(mutant);
        expect(() => parseManifest(bytes, undefined)).toThrow(ManifestError);
      }),
    );
    expect(tried).toBeGreaterThan(50);
  });

  it('a header that says something else', () => {
    fc.assert(
      fc.property(manifest, fc.constantFrom(...Object.values(MEDIA_TYPE), 'application/json'), (value, header) => {
        fc.pre(header !== value.mediaType);
        expect(() => parseManifest(bytesOf(value), header)).toThrow(ManifestError);
      }),
    );
  });

  it('bytes that are no UTF-8', () => {
    fc.assert(
      fc.property(manifest, fc.constantFrom(0x80, 0xc0, 0xff, 0xed), (value, byte) => {
        const text = Buffer.from(JSON.stringify({ ...value, note: '#' }));
        text[text.lastIndexOf('#')] = byte;
        expect(() => parseManifest(text, undefined)).toThrow(ManifestError);
      }),
    );
  });
});
