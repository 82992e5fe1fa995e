import Type from 'typebox';

const nullable = (pattern: string, description: string) =>
  Type.Optional(Type.Union([Type.String({ minLength: 1, maxLength: 2048, pattern }), Type.Null()], { description }));

/** Taken and never given back. */
export const SecretsInput = Type.Object(
  {
    authorization: nullable('^[\\x20-\\x7e]+$', 'value of the Authorization header'),
    query: nullable('^[\\x21\\x24-\\x3b\\x3d\\x3f-\\x5f\\x61-\\x7a\\x7e]+$', 'query of the address, without ?, such as token=…'),
  },
  { additionalProperties: false, description: 'write-only; null removes one' },
);
