import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Server, startEntrepot } from './peers.ts';
import { ROWS, type Row } from './rows.ts';
import { seed } from './seed.ts';

const USAGE = `npm run bench:growth -- [options]
  What a push and a pull cost in registries of 10³, 10⁴, 10⁵ and 10⁶ manifests, side by side, as ratios to the smallest.
  --rounds N   rounds that count, after one that does not (default 3)
  --largest N  the largest registry, default 1000000`;

const NAMES = ['manifest GET by tag', 'blob HEAD', 'images of 4 × 64 KiB, POST+PUT'];
const SIZES = [1000, 10_000, 100_000, 1_000_000];

interface Registry {
  readonly size: number;
  readonly server: Server;
}

async function start(size: number): Promise<Registry> {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-growth-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  await (await startEntrepot('1', folder)).stop();
  seed(join(folder, 'entrepot.db'), { projects: Math.max(1, size / 1000), users: 100, tags: size });
  return { size, server: await startEntrepot('1', folder) };
}

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

/** Rounds of one row over all registries, forwards and backwards in turn, so that a drift of the machine meets all alike. */
async function measure(row: Row, registries: readonly Registry[], rounds: number): Promise<void> {
  const contents = new Map<Registry, Awaited<ReturnType<NonNullable<Row['prepare']>>> | undefined>();
  for (const registry of registries) contents.set(registry, await row.prepare?.(registry.server));
  const [goal] = row.goals;
  const figures = new Map<Registry, number[]>(registries.map((registry) => [registry, []]));
  for (let round = 0; round <= rounds; round++) {
    for (const registry of round % 2 === 0 ? registries : registries.toReversed()) {
      const measures = await row.measure?.(registry.server, contents.get(registry) as never);
      if (round > 0) figures.get(registry)?.push(measures?.[goal?.measure ?? ''] ?? Number.NaN);
    }
  }
  const [smallest] = registries;
  const base = smallest ? (figures.get(smallest) ?? []) : [];
  for (const registry of registries) {
    const own = figures.get(registry) ?? [];
    const ratio = median(own.map((value, index) => value / (base[index] ?? Number.NaN)));
    const line = [
      row.name.padEnd(34),
      String(registry.size).padStart(9),
      `${median(own).toPrecision(3)} ${goal?.measure}`,
      `${ratio.toFixed(2)} ×`,
    ];
    console.log(line.join('  '));
  }
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    largest: { type: 'string', default: '1000000' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) console.log(USAGE);
else {
  process.setMaxListeners(100);
  const registries: Registry[] = [];
  for (const size of SIZES.filter((each) => each <= Number(values.largest))) registries.push(await start(size));
  for (const row of ROWS.filter(({ name }) => NAMES.includes(name))) await measure(row, registries, Number(values.rounds));
  for (const { server } of registries) await server.stop();
}
