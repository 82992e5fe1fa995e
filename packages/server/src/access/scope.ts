import { isRepositoryName } from '@entrepot/oci';
import { type Action, ALL_ACTIONS, isAction } from './permissions.ts';

/** One grant in a token: what on which repository. `*` as name stands for all repositories that the subject may pull. */
export interface Grant {
  readonly type: 'repository' | 'registry';
  readonly name: string;
  readonly actions: readonly string[];
}

/** A type and perhaps its class, which says nothing here; fixed at its beginning, so that it is read once. */
const RESOURCE_TYPE = /^([a-z0-9]+)(?:\([a-z0-9]*\))?$/;

/** Scopes read from one token request at most. */
const MAX_SCOPES = 64;

/**
 * Reads the scopes of a token request: several parameters, or several scopes in one, by spaces
 * (distribution's token specification, "Token scope documentation"). What is not understood is left out.
 */
export function parseScopes(parameters: readonly string[]): Grant[] {
  const grants: Grant[] = [];
  for (const text of parameters.flatMap((parameter) => parameter.split(' ')).slice(0, MAX_SCOPES)) {
    const first = text.indexOf(':');
    const last = text.lastIndexOf(':');
    if (first < 0 || last <= first) continue;
    const type = RESOURCE_TYPE.exec(text.slice(0, first))?.[1];
    const name = text.slice(first + 1, last);
    const actions = text.slice(last + 1).split(',');
    if (type === 'registry' && name === 'catalog' && actions.includes('*')) grants.push({ type, name, actions: ['*'] });
    else if (type === 'repository' && name === '*') grants.push({ type, name, actions: ['pull'] });
    else if (type === 'repository' && isRepositoryName(name)) grants.push({ type, name, actions: repositoryActions(actions) });
  }
  return grants;
}

function repositoryActions(asked: readonly string[]): Action[] {
  if (asked.includes('*')) return [...ALL_ACTIONS];
  return [...new Set(asked.filter(isAction))];
}
