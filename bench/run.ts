import { randomFillSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import {
  type Bucket,
  bucketOptions,
  isInstalled,
  remote,
  type Server,
  type Side,
  startBucket,
  startDockerRegistry,
  startEntrepot,
  startNginx,
} from './peers.ts';
import { LARGE, type Measures, measureStart, NGINX_CONTENT, ROWS, type Row } from './rows.ts';
import { format, judge, number, type Round, type RowResult } from './table.ts';

const USAGE = `npm run bench -- [options]
  --rounds N        rounds that count, after one that does not (default 5)
  --only TEXT       only the rows whose name contains the text; may be given again
  --json FILE       write every round's figures there
  --workers N       processes of entrepot, or auto (default 1)
  --s3 PROGRAM      both sides keep blobs in a bucket of their own, each at a versitygw of its own
  --url URL         measure a server that runs instead of starting entrepot: http://user:password@host:port
  --peer-url URL    compare with a server that runs instead of starting docker-registry`;

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    only: { type: 'string', multiple: true, default: [] },
    json: { type: 'string' },
    workers: { type: 'string', default: '1' },
    s3: { type: 'string' },
    url: { type: 'string' },
    'peer-url': { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
const { url, 'peer-url': peerUrl } = options;
const rounds = Number(options.rounds);

if (options.help || !Number.isSafeInteger(rounds) || rounds < 1) {
  console.log(USAGE);
  process.exit(options.help ? 0 : 2);
}
process.setMaxListeners(100); // each server that is started has folders to remove at the end
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1)); // what was started ends with us

async function start(side: Side, row: Row): Promise<Server> {
  if (options.s3 === undefined || side === 'nginx' || side === 'plain') return await startOn(side, row, undefined);
  const bucket = await startBucket(options.s3);
  const server = await startOn(side, row, bucket);
  return { ...server, stop: () => server.stop().finally(() => bucket.stop()) };
}

function startOn(side: Side, row: Row, bucket: Bucket | undefined): Promise<Server> {
  if (side === 'plain') return startEntrepot(options.workers);
  if (side === 'nginx') return startNginx(randomFillSync(Buffer.allocUnsafeSlow(LARGE)));
  const given = side === 'entrepot' ? url : peerUrl;
  if (given !== undefined) return Promise.resolve(remote(given));
  if (side !== 'entrepot') return startDockerRegistry(bucket);
  return startEntrepot(options.workers, undefined, [...(row.options ?? []), ...(bucket ? bucketOptions(bucket) : [])]);
}

const available = new Set<Side>(
  (['entrepot', 'plain', 'docker-registry', 'nginx'] as const).filter((side) => {
    const here = isInstalled(side) || (side === 'docker-registry' && peerUrl !== undefined);
    if (!here) console.log(`${side} is not installed: its columns stay empty`);
    return here;
  }),
);

function sidesOf(row: Row): Side[] {
  const wanted: readonly Side[] = row.options ? ['entrepot', 'plain'] : ['entrepot', 'docker-registry', 'nginx'];
  return wanted.filter((side) => available.has(side) && (side !== 'nginx' || row.goals.some(({ peer }) => peer === side)));
}

/** Rounds of one row on fresh servers: A B, then B A, and so on, so that a drift of the machine meets both alike. */
async function runRow(row: Row): Promise<RowResult> {
  const sides = sidesOf(row);
  const { measure } = row;
  const results: Round[] = [];
  const servers = new Map<Side, { server: Server; content: Parameters<NonNullable<typeof measure>>[1] }>();
  try {
    for (const side of measure ? sides : []) {
      const server = await start(side, row);
      servers.set(side, { server, content: NGINX_CONTENT });
      if (side !== 'nginx' && row.prepare) servers.set(side, { server, content: await row.prepare(server) });
    }
    for (let round = 0; round <= rounds; round++) {
      const figures: Partial<Record<Side, Measures>> = {};
      for (const side of round % 2 === 0 ? sides : sides.toReversed()) {
        const known = servers.get(side);
        if (measure && known) figures[side] = await measure(known.server, known.content);
        else figures[side] = await once(side, row);
      }
      if (round > 0) results.push(figures);
    }
  } finally {
    for (const { server } of servers.values()) await server.stop();
  }
  return judge(row, results);
}

async function once(side: Side, row: Row): Promise<Measures> {
  const server = await start(side, row);
  try {
    return await measureStart(server);
  } finally {
    await server.stop();
  }
}

const results: RowResult[] = [];
for (const row of ROWS) {
  if (options.only.length > 0 && !options.only.some((text) => row.name.includes(text))) continue;
  if ((row.measure === undefined || row.options) && url !== undefined) continue; // a server that runs cannot be started
  try {
    const result = await runRow(row);
    results.push(result);
    for (const { measure, peer, ours, theirs, ratio } of result.lines) {
      console.log(`${row.name}: ${measure} ${number(ours)}${peer ? ` against ${peer}'s ${number(theirs)}: ${number(ratio)} ×` : ''}`);
    }
  } catch (error) {
    process.exitCode = 1;
    console.error(`${row.name}: ${(error as Error).message}`);
  }
}

const machine = { processors: availableParallelism(), node: process.version, platform: `${process.platform} ${process.arch}` };
console.log(
  `\n${machine.processors} processors, Node ${machine.node}; medians of ${rounds} rounds, the peer is docker-registry unless named`,
);
console.log(format(results));
if (options.json !== undefined) {
  writeFileSync(
    options.json,
    JSON.stringify({ machine, date: new Date().toISOString(), options: { rounds, workers: options.workers }, results }, null, 2),
  );
}
