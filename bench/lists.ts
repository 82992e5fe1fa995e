import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { originOf, type Server, startEntrepot } from './peers.ts';
import { type SeedCounts, seed } from './seed.ts';

const USAGE = `npm run bench:lists -- [options]
  Every list of the management API in a registry with many names, each in every order and as several pages.
  --projects N --users N --tags N   how many, default 1000, 10000, 1000000
  --requests N                      of each list, default 100`;

/** What is put for the parameters of a path. */
const SAMPLES: Readonly<Record<string, string>> = {
  project: 'project-0000',
  repository: 'app-0',
  reference: 'v000001',
  tag: 'latest',
  group: 'group-000',
  user: 'user-00000',
};
const LIMIT_MS = 100;

interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly schema: { readonly enum?: readonly string[] } }[];
}

interface Measured {
  readonly list: string;
  readonly p99: number;
  readonly items: number;
}

/** Walks all lists of the document and measures each. */
export async function measureLists(server: Server, requests: number): Promise<Measured[]> {
  const { host, username, password } = server.url;
  const headers = { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
  const base = `http://${host}`;
  const get = (path: string) => fetch(base + path, { headers });
  const document = (await (await get('/api/openapi.json')).json()) as { paths: Record<string, Record<string, Operation>> };
  const measured: Measured[] = [];
  for (const [template, { get: operation }] of Object.entries(document.paths)) {
    const sort = operation?.parameters?.find(({ name }) => name === 'sort');
    if (!operation?.parameters?.some((parameter) => parameter.in === 'query' && parameter.name === 'after')) continue;
    const path = template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(SAMPLES[name] ?? '1'));
    for (const order of sort?.schema.enum ?? ['']) {
      const first = `${path}?limit=100${order === '' ? '' : `&sort=${order}`}`;
      measured.push({ list: `${template}${order === '' ? '' : ` by ${order}`}`, ...(await walk(get, first, requests)) });
    }
  }
  return measured;
}

/** Asks for one page after the other, and for the first again after the last. */
async function walk(get: (path: string) => Promise<Response>, first: string, requests: number): Promise<{ p99: number; items: number }> {
  const times: number[] = [];
  let items = 0;
  let path = first;
  for (let done = 0; done < requests; done++) {
    const before = performance.now();
    const answer = await get(path);
    const body = (await answer.json()) as { items?: unknown[] };
    times.push(performance.now() - before);
    if (answer.status === 404) return { p99: Number.NaN, items: 0 }; // nothing of the kind was seeded
    if (!answer.ok) throw new Error(`GET ${path} answered ${answer.status}`);
    items += body.items?.length ?? 0;
    path = /<([^>]+)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1] ?? first;
  }
  times.sort((a, b) => a - b);
  return { p99: times[Math.ceil(times.length * 0.99) - 1] ?? Number.NaN, items };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      projects: { type: 'string', default: '1000' },
      users: { type: 'string', default: '10000' },
      tags: { type: 'string', default: '1000000' },
      requests: { type: 'string', default: '100' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  const counts: SeedCounts = { projects: Number(values.projects), users: Number(values.users), tags: Number(values.tags) };
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-lists-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  await (await startEntrepot('1', folder)).stop();
  const path = join(folder, 'entrepot.db');
  if (!existsSync(path)) throw new Error('the server made no database');
  seed(path, counts);
  const server = await startEntrepot('1', folder);
  try {
    await originOf(server, 'project-0000/app-0');
    const measured = await measureLists(server, Number(values.requests));
    for (const { list, p99, items } of measured) {
      const verdict = Number.isNaN(p99) ? 'nothing there' : `p99 ${p99.toFixed(1)} ms${p99 > LIMIT_MS ? '  OVER' : ''}, ${items} items`;
      console.log(`${list.padEnd(90)} ${verdict}`);
    }
    const over = measured.filter(({ p99 }) => p99 > LIMIT_MS);
    console.log(`\n${measured.length} lists, ${over.length} over ${LIMIT_MS} ms`);
    if (over.length > 0) process.exitCode = 1;
  } finally {
    await server.stop();
  }
}

if (import.meta.main) await main();
