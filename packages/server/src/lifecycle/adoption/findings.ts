/** What adoption can say of something that it did not adopt, and whether anybody could pull it before. */
export const FINDINGS = {
  'digest-mismatch': { damage: true, text: 'the bytes have another digest than their name says' },
  'missing-manifest': { damage: true, text: 'a revision leads to a manifest that is not there' },
  'invalid-manifest': { damage: true, text: 'a manifest that cannot be served as it is' },
  'incomplete-manifest': { damage: true, text: 'a manifest that needs what is not there' },
  'dangling-tag': { damage: true, text: 'a tag that leads to no manifest that was adopted' },
  'bad-link': { damage: true, text: 'a link file that holds no digest, or another one than its place' },
  'invalid-name': { damage: true, text: 'a name outside the grammar of repositories and tags' },
  unreadable: { damage: true, text: 'a file that the disk does not give back' },
  'other-tag': { damage: true, text: 'a tag that leads elsewhere in Entrepot; it was left as it is there' },
  'foreign-file': { damage: false, text: 'a file that does not belong to the layout' },
} as const satisfies Record<string, { readonly damage: boolean; readonly text: string }>;

export type FindingKind = keyof typeof FINDINGS;

export interface Finding {
  readonly kind: FindingKind;
  /** '' for what belongs to none. */
  readonly repository: string;
  /** A digest, a tag, or a path in the storage. */
  readonly subject: string;
  readonly detail: string;
}

/** What was found in the storage and is in Entrepot now, whether this run brought it or one before. */
export interface Counts {
  readonly repositories: number;
  readonly manifests: number;
  readonly tags: number;
  /** Former positions of tags. */
  readonly moves: number;
  /** Blobs that were hashed, and their bytes; 0 unless that was asked for. */
  readonly hashed: number;
  readonly hashedBytes: number;
}

export type CountName = keyof Counts;

export const NOTHING: Counts = {
  repositories: 0,
  manifests: 0,
  tags: 0,
  moves: 0,
  hashed: 0,
  hashedBytes: 0,
};

/** Sum of two. */
export function plus(a: Counts, b: Partial<Counts>): Counts {
  return Object.fromEntries((Object.keys(NOTHING) as CountName[]).map((name) => [name, a[name] + (b[name] ?? 0)])) as unknown as Counts;
}
