import { postgresData, sqliteData } from './database/testing.ts';
import { outboxContract } from './outbox-contract.ts';

outboxContract('SQLite', sqliteData);
outboxContract('PostgreSQL', postgresData);
