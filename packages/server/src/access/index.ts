export { type Access, createAccess, type Decision, type Identity } from './access.ts';
export {
  createPasswordChecker,
  hashPassword,
  isAcceptablePassword,
  PASSWORD_MAX_LENGTH,
  PASSWORD_MIN_LENGTH,
  randomPassword,
} from './passwords.ts';
export { type Action, isRole, ROLES, type Role } from './roles.ts';
export { accessMigrations } from './schema.ts';
export type { Grant } from './scope.ts';
export { createTokenHandler, type TokenHandler } from './token-service.ts';
export { createTokenIssuer, type TokenIssuer } from './tokens.ts';
export {
  createUser,
  isUserName,
  setDisabled,
  setMember,
  setPassword,
  type User,
  userCount,
} from './users.ts';
