import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import Value from 'typebox/value';
import { InvalidInput } from './problems.ts';

/** Text of an address becomes the number or truth value that its schema asks for; a body says its types itself. */
export type Part = 'params' | 'querystring' | 'headers' | 'body';

/** Checks one part of a request and gives it with the defaults filled in. Throws InvalidInput with everything that is wrong. */
export function compileCheck(schema: TSchema, part: Part): (value: unknown) => unknown {
  const compiled = Compile(schema);
  return (given) => {
    const value = Value.Default(schema, part === 'body' ? given : fromText(schema, given));
    if (compiled.Check(value)) return value;
    throw new InvalidInput(
      compiled
        .Errors(value)
        .slice(0, 20)
        .map(({ instancePath, message }) => ({ at: `${part}${instancePath}`, message })),
    );
  };
}

const INTEGER = /^(?:0|-?[1-9][0-9]{0,15})$/;

interface Shape {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Shape>>;
}

/** Each number and truth value has one spelling: what is written otherwise stays text, and so is refused. */
function fromText({ properties = {} }: Shape, given: unknown): unknown {
  if (typeof given !== 'object' || given === null) return given;
  return Object.fromEntries(
    Object.entries(given).map(([name, text]: [string, unknown]) => {
      const type = Object.hasOwn(properties, name) ? properties[name]?.type : undefined;
      if (type === 'integer' && typeof text === 'string' && INTEGER.test(text)) return [name, Number(text)];
      if (type === 'boolean' && (text === 'true' || text === 'false')) return [name, text === 'true'];
      return [name, text];
    }),
  );
}
