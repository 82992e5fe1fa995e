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
    const converted = part === 'body' ? given : Value.Convert(schema, given);
    const value = Value.Default(schema, converted);
    if (compiled.Check(value)) return value;
    throw new InvalidInput(
      compiled
        .Errors(value)
        .slice(0, 20)
        .map(({ instancePath, message }) => ({ at: `${part}${instancePath}`, message })),
    );
  };
}
