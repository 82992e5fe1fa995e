import type { Command } from './commands.ts';
import { digestOf, type Manifest, type Material, stockOf } from './material.ts';

// The registry as one would explain it: what is where, who may do what, and what each request answers. Nothing here knows
// of files, transactions, sessions or caches.

export type User = 'root' | 'ann' | 'bob' | 'eve' | 'anonymous';
export const PROJECTS = ['alpha', 'beta', 'gamma'] as const;
export type Project = (typeof PROJECTS)[number];

/** What each may do in each project; gamma is public. */
const RIGHTS: Readonly<Record<User, Readonly<Record<Project, string>>>> = {
  root: { alpha: 'pull push delete', beta: 'pull push delete', gamma: 'pull push delete' },
  ann: { alpha: 'pull push delete', beta: '', gamma: 'pull push' },
  bob: { alpha: 'pull', beta: 'pull push delete', gamma: 'pull push' },
  eve: { alpha: '', beta: '', gamma: 'pull' },
  anonymous: { alpha: '', beta: '', gamma: 'pull' },
};

interface Repository {
  readonly blobs: ReadonlySet<string>;
  readonly manifests: ReadonlySet<string>;
  readonly tags: ReadonlyMap<string, string>;
}

/** A project has one repository, which exists from the first push on. Never changed: a change makes another one. */
export type State = Readonly<Partial<Record<Project, Repository>>>;

/** What a request answers, as far as it matters. */
export interface Outcome {
  readonly status: number;
  readonly [detail: string]: unknown;
}

export interface Step {
  readonly outcome: Outcome;
  readonly state: State;
}

const EMPTY: Repository = { blobs: new Set(), manifests: new Set(), tags: new Map() };
const refuse = (state: State, status: number, code: string): Step => ({ state, outcome: { status, code } });

/** What a request answers in a state, and the state after it. */
export function step(state: State, command: Command, material: Material): Step {
  const { op, by, to } = command;
  const repository = state[to];
  const refusal = by === 'anonymous' ? refuse(state, 401, 'UNAUTHORIZED') : refuse(state, 403, 'DENIED');
  const answer = (status: number, details: object = {}): Step => ({ state, outcome: { status, ...details } });
  const change = (next: Repository, status: number, details: object = {}): Step => ({
    state: { ...state, [to]: next },
    outcome: { status, ...details },
  });
  const may = (action: string, project: Project = to) => RIGHTS[by][project].split(' ').includes(action);
  const { blobs, manifests, tags } = repository ?? EMPTY;

  switch (op) {
    case 'push': {
      if (!may('push')) return refusal;
      const { digest } = material.blobs[command.blob];
      if (command.how === 'given up') return answer(204);
      if (command.wrong) return refuse(state, 400, 'DIGEST_INVALID');
      return change({ blobs: new Set([...blobs, digest]), manifests, tags }, 201, { digest });
    }
    case 'stock': {
      const all = stockOf(material, command.large).map(({ digest }) => digest);
      return change({ blobs: new Set([...blobs, ...all]), manifests, tags }, 201);
    }
    case 'mount': {
      if (!may('push')) return refusal;
      const { digest } = material.blobs[command.blob];
      const sources = command.from === undefined ? PROJECTS : [command.from];
      const found = sources.some((source) => may('pull', source) && state[source]?.blobs.has(digest));
      return found ? change({ blobs: new Set([...blobs, digest]), manifests, tags }, 201, { digest }) : answer(202);
    }
    case 'put': {
      if (!may('push')) return refusal;
      const manifest = material.manifests[command.shape];
      const { under } = command;
      if (under.kind === 'wrong digest') return refuse(state, 400, 'DIGEST_INVALID');
      const digest = manifest.digests[under.kind === 'digest' ? under.algorithm : 'sha256'];
      if (under.kind === 'tag' && !conditionHolds(under.only, tags.get(under.tag), material)) return refuse(state, 412, 'DENIED');
      const complete = manifest.blobs.every((blob) => blobs.has(blob)) && manifest.children.every((child) => manifests.has(child));
      if (!manifests.has(digest) && !complete) return refuse(state, 404, 'MANIFEST_BLOB_UNKNOWN');
      const names = under.kind === 'tag' ? [under.tag] : under.tags;
      const next = {
        blobs,
        manifests: new Set([...manifests, digest]),
        tags: new Map([...tags, ...names.map((tag) => [tag, digest] as const)]),
      };
      return change(next, 201, { digest, subject: manifest.subject, tags: under.kind === 'tag' ? [] : [...names].sort() });
    }
    case 'delete tag': {
      if (!may('delete')) return refusal;
      if (!repository) return refuse(state, 404, 'NAME_UNKNOWN');
      if (!tags.has(command.tag)) return refuse(state, 404, 'MANIFEST_UNKNOWN');
      return change({ blobs, manifests, tags: new Map([...tags].filter(([tag]) => tag !== command.tag)) }, 202);
    }
    case 'delete manifest': {
      if (!may('delete')) return refusal;
      if (!repository) return refuse(state, 404, 'NAME_UNKNOWN');
      const digest = material.manifests[command.shape].digests[command.algorithm];
      if (!manifests.has(digest)) return refuse(state, 404, 'MANIFEST_UNKNOWN');
      if (stored(repository, material).some(([, { children }]) => children.includes(digest))) return refuse(state, 405, 'UNSUPPORTED');
      const left = new Set([...manifests].filter((each) => each !== digest));
      return change({ blobs, manifests: left, tags: new Map([...tags].filter(([, target]) => target !== digest)) }, 202);
    }
    case 'delete blob': {
      if (!may('delete')) return refusal;
      if (!repository) return refuse(state, 404, 'NAME_UNKNOWN');
      const { digest } = material.blobs[command.blob];
      if (stored(repository, material).some(([, manifest]) => manifest.blobs.includes(digest))) return refuse(state, 405, 'UNSUPPORTED');
      if (!blobs.has(digest)) return refuse(state, 404, 'BLOB_UNKNOWN');
      return change({ blobs: new Set([...blobs].filter((each) => each !== digest)), manifests, tags }, 202);
    }
    case 'get blob': {
      if (!may('pull')) return refusal;
      if (!repository) return refuse(state, 404, 'NAME_UNKNOWN');
      const { digest, bytes } = material.blobs[command.blob];
      if (!blobs.has(digest)) return refuse(state, 404, 'BLOB_UNKNOWN');
      if (command.range === undefined) return answer(200, { digest, ...contentOf(bytes) });
      const [first, last] = command.range;
      if (first >= bytes.length) return refuse(state, 416, 'RANGE_INVALID');
      return answer(206, { digest, ...contentOf(bytes.subarray(first, last + 1)) });
    }
    case 'get manifest': {
      if (!may('pull')) return refusal;
      if (!repository) return refuse(state, 404, 'NAME_UNKNOWN');
      const { under } = command;
      const digest = 'tag' in under ? tags.get(under.tag) : material.manifests[under.shape].digests[under.algorithm];
      const found = stored(repository, material).find(([each]) => each === digest);
      if (!found) return refuse(state, 404, 'MANIFEST_UNKNOWN');
      return answer(200, { digest, type: found[1].mediaType, ...contentOf(found[1].bytes) });
    }
    case 'list tags': {
      if (!may('pull')) return refusal;
      if (!repository) return refuse(state, 404, 'NAME_UNKNOWN');
      const { n = 1000, last = '' } = command;
      const rest = [...tags.keys()].filter((tag) => tag > last).sort();
      return answer(200, { tags: rest.slice(0, n), more: n > 0 && rest.length > n });
    }
    case 'referrers': {
      if (!may('pull')) return refusal;
      const subject = material.manifests[command.shape].digests.sha256;
      const all = stored(repository ?? EMPTY, material).filter(([, manifest]) => manifest.subject === subject);
      const some = all.filter(([, { artifactType }]) => command.type === undefined || artifactType === command.type);
      return answer(200, {
        referrers: some.map(([digest, manifest]) => descriptorOf(digest, manifest)),
        filtered: command.type !== undefined,
      });
    }
  }
}

/** The manifests of a repository by digest, in its order. */
function stored({ manifests }: Repository, material: Material): [string, Manifest][] {
  return Object.values(material.manifests)
    .flatMap((manifest) => Object.values(manifest.digests).map((digest): [string, Manifest] => [digest, manifest]))
    .filter(([digest]) => manifests.has(digest))
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

function conditionHolds(only: Condition | undefined, current: string | undefined, { manifests }: Material): boolean {
  if (only === undefined) return true;
  if (only === 'absent') return current === undefined;
  return current === manifests[only.is].digests.sha256;
}

type Condition = Extract<Extract<Command, { op: 'put' }>['under'], { kind: 'tag' }>['only'];

function descriptorOf(digest: string, { mediaType, bytes, artifactType, annotations }: Manifest): object {
  return { mediaType, digest, size: bytes.length, ...(artifactType === undefined ? {} : { artifactType }), annotations };
}

export function contentOf(bytes: Uint8Array): { length: number; content: string } {
  return { length: bytes.length, content: digestOf(bytes) };
}

/** An outcome as text: the same text, the same outcome. What a HEAD does not show is left out. */
export function describeOutcome(command: Command, { code, content, ...outcome }: Outcome): string {
  const shown = 'head' in command && command.head ? outcome : { ...outcome, code, content };
  const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value);
  return JSON.stringify(shown, (_, value: unknown) =>
    isObject(value) ? Object.fromEntries(Object.entries(value as object).sort()) : value,
  );
}

/** All that is in a state, as text: the same text, the same state. */
export function describeState(state: State): string {
  return PROJECTS.map((project) => {
    const repository = state[project];
    if (!repository) return `${project}: nothing`;
    const { blobs, manifests, tags } = repository;
    const lines = [[...blobs].sort(), [...manifests].sort(), [...tags].map(([tag, digest]) => `${tag} = ${digest}`).sort()];
    return `${project}: ${lines.map((line) => line.join(' ')).join('\n  ')}`;
  }).join('\n');
}
