import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger';
import Type, { type TSchema } from 'typebox';
import type { Route } from '../platform/index.ts';

/** Named once in the document, and referred to by every route. */
export const PROBLEM = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.String({ description: 'stable; programs decide by this' }),
    detail: Type.String(),
    requestId: Type.Optional(Type.String()),
    errors: Type.Optional(Type.Array(Type.Object({ at: Type.String(), message: Type.String() }))),
  },
  { $id: 'Problem' },
);

/** What the OpenAPI document says of the API as a whole. */
export function describeApi(): FastifyDynamicSwaggerOptions {
  return {
    refResolver: { buildLocalReference: ({ $id }, _, __, index) => (typeof $id === 'string' ? $id : `def-${index}`) },
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Entrepot management API', version: '1', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
      components: {
        securitySchemes: {
          basic: { type: 'http', scheme: 'basic', description: 'user and password, or an access key as password' },
          bearer: { type: 'http', scheme: 'bearer', description: 'an access key' },
          session: { type: 'apiKey', in: 'cookie', name: 'entrepot_session', description: 'the console' },
        },
      },
      security: [{ basic: [] }, { bearer: [] }, { session: [] }],
    },
  };
}

/** A route whose schemas are nothing in particular. */
type Described = Omit<Route, 'params' | 'query' | 'body' | 'answer'> & Partial<Record<'params' | 'query' | 'body' | 'answer', TSchema>>;

/** A route as Fastify and the document take it. */
export function schemaOf(route: Route) {
  const { summary, description, tag, permission, params, query, body, answer, produces, method, path } = route as Described;
  const status = route.status ?? (answer === undefined && produces === undefined ? 204 : 200);
  const words = path
    .split('/')
    .filter((part) => part !== '')
    .map((part) => part.replace(':', 'by-'));
  return {
    operationId: [method.toLowerCase(), ...words].join('-'),
    summary,
    description: [description, `Needs: ${permission}.`].filter(Boolean).join(' '),
    tags: [tag],
    ...(permission === 'public' ? { security: [] } : {}),
    ...(params ? { params } : {}),
    ...(query ? { querystring: query } : {}),
    ...(body ? { body } : {}),
    response: {
      [status]: produces
        ? { description: 'done', content: { [produces]: { schema: Type.String() } } }
        : answer
          ? { description: 'done', ...answer }
          : { description: 'done', type: 'null' },
      default: { description: 'a problem (RFC 9457)', content: { 'application/problem+json': { schema: { $ref: 'Problem#' } } } },
    },
  };
}
