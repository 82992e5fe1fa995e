import type { CelInput, plan } from '@bufbuild/cel';
import { LRUCache } from 'lru-cache';
import { AppError, inRanges, parseRanges } from '../../platform/index.ts';

/** What a condition is asked of, by name. */
export type Facts = Readonly<Record<string, unknown>>;

/** A condition, compiled. */
export interface Condition {
  /** Whether it holds. Throws where it cannot be decided, so that nothing passes by an error. */
  holds(facts: Facts): boolean;
  /** Fields of a fact that it names, as `repository` in `claims.repository`. */
  fieldsOf(fact: string): readonly string[];
}

export interface Conditions {
  /** Compiles a condition over these facts. Throws a TypeError that says what is wrong. */
  compile(source: string, facts: readonly string[]): Condition;
  /** A time as conditions take it. */
  time(now: number): unknown;
}

/** Longest condition; with no loop inside a loop and no pattern that is made at run time, evaluation stays proportional to the facts. */
export const CONDITION_LENGTH = 1024;
const MAX_LOOPS = 8;
const MAX_COMPILED = 500;

let loaded: Promise<Conditions> | undefined;

/** CEL, the Common Expression Language; loaded by who first has a condition, as it takes 25 MiB. */
export function loadConditions(): Promise<Conditions> {
  loaded ??= load();
  return loaded;
}

/** A condition from a body. Throws `bad_request` for one that is wrong. */
export async function readCondition(source: string, facts: readonly string[]): Promise<Condition> {
  const { compile } = await loadConditions();
  try {
    return compile(source, facts);
  } catch (cause) {
    throw new AppError('bad_request', `the condition ${(cause as Error).message}`, { cause });
  }
}

async function load(): Promise<Conditions> {
  const cel = await import('@bufbuild/cel');
  const inCidr = cel.celFunc('inCidr', [cel.CelScalar.STRING, cel.CelScalar.STRING], cel.CelScalar.BOOL, (address, ranges) =>
    inRanges(parseRanges(ranges), address),
  );
  const environment = cel.celEnv({ funcs: [inCidr] });
  const timestamp = cel.plan(environment, cel.parse('timestamp(text)'));
  const compiled = new LRUCache<string, Condition>({ max: MAX_COMPILED });

  function evaluate(planned: ReturnType<typeof plan>, facts: Facts): unknown {
    const value = planned(facts as Record<string, CelInput>);
    if (cel.isCelError(value)) throw new Error(`a condition cannot be decided: ${value.message}`);
    return value;
  }

  function compileNew(source: string, names: readonly string[]): Condition {
    if (source.length > CONDITION_LENGTH) throw new TypeError(`has more than ${CONDITION_LENGTH} characters`);
    let parsed: ReturnType<typeof cel.parse>;
    try {
      parsed = cel.parse(source);
    } catch (cause) {
      throw new TypeError(`is no CEL: ${(cause as Error).message}`, { cause });
    }
    const found = inspect(parsed.expr, names);
    const planned = cel.plan(environment, parsed);
    return {
      holds(facts) {
        const value = evaluate(planned, facts);
        if (typeof value !== 'boolean') throw new Error('a condition is neither true nor false');
        return value;
      },
      fieldsOf: (fact) => found.filter(([name]) => name === fact).map(([, field]) => field),
    };
  }

  return {
    compile(source, facts) {
      const key = `${facts.join()}\n${source}`;
      const condition = compiled.get(key) ?? compileNew(source, facts);
      compiled.set(key, condition);
      return condition;
    },
    time: (now) => evaluate(timestamp, { text: new Date(now).toISOString() }),
  };
}

/** A node of CEL's syntax tree (cel/expr/syntax.proto), as far as it is looked at. */
interface Node {
  readonly exprKind?: { readonly case?: string | undefined; readonly value?: unknown };
}
interface Select {
  readonly operand?: Node;
  readonly field: string;
}
interface Call {
  readonly function: string;
  readonly target?: Node;
  readonly args: readonly Node[];
}
interface Loop {
  readonly iterVar: string;
  readonly iterVar2: string;
  readonly accuVar: string;
  readonly iterRange?: Node;
}

/** Names that a condition may use besides the facts: CEL's types. */
const TYPES = new Set(['bool', 'bytes', 'double', 'int', 'list', 'map', 'null_type', 'string', 'type', 'uint', 'google']);

/** Fields that a condition names, with the fact they are of. Throws a TypeError for what could be slow or means nothing. */
function inspect(root: unknown, names: readonly string[]): (readonly [fact: string, field: string])[] {
  const fields: (readonly [string, string])[] = [];
  let loops = 0;

  function walk(value: unknown, scope: ReadonlySet<string>, inLoop: boolean): void {
    if (Array.isArray(value)) for (const each of value) walk(each, scope, inLoop);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
    const { exprKind } = value as Node;
    switch (exprKind?.case) {
      case 'identExpr': {
        const { name } = exprKind.value as { name: string };
        if (!scope.has(name)) throw new TypeError(`names ${name}; there is ${names.join(', ')}`);
        return;
      }
      case 'selectExpr':
        note((exprKind.value as Select).operand, (exprKind.value as Select).field);
        break;
      case 'callExpr': {
        const { function: called, args } = exprKind.value as Call;
        const key = constant(args.at(-1));
        if (called === '_[_]' && key !== undefined) note(args[0], key);
        if (called === 'matches' && key === undefined) throw new TypeError('matches a pattern that does not stand in it as it is');
        if (called === 'inCidr') parseRanges(key ?? '');
        break;
      }
      case 'comprehensionExpr': {
        const loop = exprKind.value as Loop;
        if (inLoop) throw new TypeError('has a loop inside a loop');
        if (++loops > MAX_LOOPS) throw new TypeError(`has more than ${MAX_LOOPS} loops`);
        const { iterRange, ...rest } = loop;
        walk(iterRange, scope, true);
        walk(Object.values(rest), new Set([...scope, loop.iterVar, loop.iterVar2, loop.accuVar]), true);
        return;
      }
    }
    for (const child of Object.values(value)) walk(child, scope, inLoop);
  }

  function note(operand: Node | undefined, field: string): void {
    if (operand?.exprKind?.case === 'identExpr') fields.push([(operand.exprKind.value as { name: string }).name, field]);
  }

  walk(root, new Set([...names, ...TYPES]), false);
  return fields;
}

/** Text that stands in a condition as it is. */
function constant(node: Node | undefined): string | undefined {
  if (node?.exprKind?.case !== 'constExpr') return undefined;
  const { constantKind } = node.exprKind.value as { constantKind?: { case?: string; value?: unknown } };
  return constantKind?.case === 'stringValue' ? String(constantKind.value) : undefined;
}
