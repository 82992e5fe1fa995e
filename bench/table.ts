import type { Side } from './peers.ts';
import type { Goal, Measures, Row } from './rows.ts';

/** One round: what each side reached. */
export type Round = Partial<Record<Side, Measures>>;

export interface RowResult {
  readonly row: string;
  readonly rounds: readonly Round[];
  readonly lines: readonly Line[];
}

/** A goal and what came of it. */
export interface Line extends Goal {
  readonly ours: number | undefined;
  readonly theirs: number | undefined;
  /** Ours to theirs: median, least and most of the ratios of the rounds. */
  readonly ratio: number | undefined;
  readonly spread: readonly [number, number] | undefined;
  /** undefined: nothing is asked, or it could not be measured. */
  readonly reached: boolean | undefined;
}

/** Judges the rounds of a row by its goals. */
export function judge(row: Row, rounds: readonly Round[]): RowResult {
  const lines = row.goals.map((goal): Line => {
    // The start has no goal to a peer, but the peer's figure is of interest.
    const peer = goal.peer ?? 'docker-registry';
    const of = (side: Side) => median(rounds.map((round) => round[side]?.[goal.measure]));
    const ratios = rounds.map((round) => (round.entrepot?.[goal.measure] ?? Number.NaN) / (round[peer]?.[goal.measure] ?? Number.NaN));
    const known = ratios.filter((ratio) => Number.isFinite(ratio));
    const ours = of('entrepot');
    const ratio = median(known);
    const judged = goal.peer === undefined ? ours : ratio;
    const asked = goal.atLeast !== undefined || goal.atMost !== undefined;
    return {
      ...goal,
      ours,
      theirs: of(peer),
      ratio,
      spread: known.length > 0 ? [Math.min(...known), Math.max(...known)] : undefined,
      reached: judged === undefined || !asked ? undefined : judged >= (goal.atLeast ?? 0) && judged <= (goal.atMost ?? Infinity),
    };
  });
  return { row: row.name, rounds, lines };
}

function median(values: readonly (number | undefined)[]): number | undefined {
  const sorted = values.filter((value) => value !== undefined && Number.isFinite(value)).sort((a, b) => Number(a) - Number(b));
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? sorted[middle]
    : sorted.length === 0
      ? undefined
      : (Number(sorted[middle - 1]) + Number(sorted[middle])) / 2;
}

const HEADER = ['work', 'measure', 'entrepot', 'peer', 'ratio', '(least–most)', 'goal', 'reached'];

/** The table, a line for each goal, columns aligned. */
export function format(results: readonly RowResult[]): string {
  const rows = results.flatMap(({ row, lines }) => lines.map((line, index) => [index === 0 ? row : '', ...cells(line)]));
  const widths = HEADER.map((head, column) => Math.max(head.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const align = (row: readonly string[]) =>
    row
      .map((text, column) => (column >= 2 && column <= 4 ? text.padStart(widths[column] ?? 0) : text.padEnd(widths[column] ?? 0)))
      .join('  ');
  return [HEADER, widths.map((width) => '-'.repeat(width)), ...rows].map((row) => align(row).trimEnd()).join('\n');
}

function cells({ measure, peer, ours, theirs, ratio, spread, atLeast, atMost, reached }: Line): string[] {
  const unit = peer === undefined ? '' : ' ×';
  return [
    peer === 'nginx' ? `${measure} (nginx)` : measure,
    number(ours),
    number(theirs),
    ratio === undefined ? '–' : `${number(ratio)} ×`,
    spread ? `(${number(spread[0])}–${number(spread[1])})` : '',
    atLeast !== undefined ? `≥ ${atLeast}${unit}` : atMost !== undefined ? `≤ ${atMost}${unit}` : '',
    reached === undefined ? '' : reached ? 'yes' : 'NO',
  ];
}

/** Three significant digits, thousands apart. */
export function number(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return '–';
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en');
  return value.toPrecision(3);
}
