-- 0001-catalog
create table "project" (
  "id" integer primary key autoincrement,
  "name" text not null unique,
  "public" integer not null,
  "created_at" bigint not null,
  "created_by" text not null
);
create table "repository" (
  "id" integer primary key autoincrement,
  "project_id" integer not null references "project" ("id"),
  "name" text not null unique,
  "created_at" bigint not null
);
create index "repository_project" on "repository" ("project_id", "name");
create table "repository_blob" (
  "repository_id" integer not null references "repository" ("id"),
  "digest" text not null,
  "size" bigint not null,
  "created_at" bigint not null,
  constraint "repository_blob_pk" primary key ("repository_id", "digest")
);
create index "repository_blob_digest" on "repository_blob" ("digest", "repository_id");
create table "manifest" (
  "id" integer primary key autoincrement,
  "repository_id" integer not null references "repository" ("id"),
  "digest" text not null,
  "media_type" text not null,
  "size" bigint not null,
  "artifact_type" text,
  "annotations" text,
  "subject" text,
  "created_at" bigint not null,
  "created_by" text not null,
  constraint "manifest_digest" unique ("repository_id", "digest")
);
create index "manifest_subject" on "manifest" ("repository_id", "subject", "digest");
create table "manifest_content" (
  "manifest_id" integer primary key references "manifest" ("id"),
  "bytes" blob not null
);
create table "manifest_reference" (
  "manifest_id" integer not null references "manifest" ("id"),
  "repository_id" integer not null,
  "digest" text not null,
  "kind" text not null,
  constraint "manifest_reference_pk" primary key ("manifest_id", "digest", "kind")
);
create index "manifest_reference_digest" on "manifest_reference" ("repository_id", "digest", "kind");
create table "tag" (
  "repository_id" integer not null references "repository" ("id"),
  "name" text not null,
  "digest" text not null,
  "updated_at" bigint not null,
  "updated_by" text not null,
  constraint "tag_pk" primary key ("repository_id", "name")
);
create index "tag_digest" on "tag" ("repository_id", "digest");
create table "tag_history" (
  "id" integer primary key autoincrement,
  "repository_id" integer not null,
  "name" text not null,
  "digest" text,
  "previous_digest" text,
  "changed_at" bigint not null,
  "changed_by" text not null
);
create index "tag_history_tag" on "tag_history" ("repository_id", "name", "id");
create table "upload_session" (
  "id" text primary key,
  "repository" text not null,
  "owner" text not null,
  "algorithm" text not null,
  "bytes" bigint not null,
  "digest" text,
  "lease" text,
  "lease_until" bigint not null,
  "created_at" bigint not null,
  "updated_at" bigint not null
);
create index "upload_session_age" on "upload_session" ("updated_at");

-- 0002-ended-uploads
create table "ended_upload" (
  "id" text primary key
);

-- 0003-project-settings
alter table "project" add column "description" text default '' not null;
alter table "project" add column "environment" text default 'development' not null;
alter table "project" add column "pull_networks" text default '' not null;
alter table "project" add column "push_networks" text default '' not null;
alter table "project" add column "version" integer default 1 not null;

-- 0004-lists
alter table "repository" add column "description" text default '' not null;
alter table "repository" add column "deleted_at" bigint;
alter table "repository" add column "version" integer default 1 not null;
create index "repository_created" on "repository" ("project_id", "created_at", "id");
create table "repository_change" (
  "repository_id" integer primary key references "repository" ("id"),
  "project_id" integer not null,
  "updated_at" bigint not null
);
create index "repository_change_time" on "repository_change" ("project_id", "updated_at", "repository_id");
INSERT INTO repository_change (repository_id, project_id, updated_at) SELECT id, project_id,
            coalesce((SELECT max(created_at) FROM manifest WHERE repository_id = repository.id), created_at) FROM repository;
alter table "manifest" add column "content_size" bigint default 0 not null;
UPDATE manifest SET content_size = size + coalesce((SELECT sum(blob.size) FROM manifest_reference AS part
            JOIN repository_blob AS blob ON blob.repository_id = part.repository_id AND blob.digest = part.digest
            WHERE part.manifest_id = manifest.id AND part.kind = 'blob'), 0);
UPDATE manifest SET content_size = content_size + coalesce((SELECT sum(child.content_size) FROM manifest_reference AS part
            JOIN manifest AS child ON child.repository_id = part.repository_id AND child.digest = part.digest
            WHERE part.manifest_id = manifest.id AND part.kind = 'manifest'), 0);
create index "manifest_pushed" on "manifest" ("repository_id", "id");
create index "manifest_content_size" on "manifest" ("repository_id", "content_size", "id");
drop index "tag_digest";
create index "tag_digest_name" on "tag" ("repository_id", "digest", "name");
create index "tag_updated" on "tag" ("repository_id", "updated_at", "name");

-- 0005-collection
alter table "repository_blob" add column "unneeded_since" bigint;
UPDATE repository_blob SET unneeded_since = 0 WHERE NOT EXISTS (SELECT 1 FROM manifest_reference AS need
            WHERE need.repository_id = repository_blob.repository_id AND need.digest = repository_blob.digest AND need.kind = 'blob');
create index "repository_blob_unneeded" on "repository_blob" ("unneeded_since", "repository_id", "digest") where "unneeded_since" is not null;
create table "stored_blob" (
  "digest" text primary key,
  "size" bigint not null,
  "state" text not null,
  "review_at" bigint,
  "stored_at" bigint not null,
  "generation" integer default 0 not null
);
INSERT INTO stored_blob (digest, size, state, stored_at)
            SELECT digest, max(size), 'live', min(created_at) FROM repository_blob GROUP BY digest;
create index "stored_blob_review" on "stored_blob" ("state", "review_at") where "review_at" is not null;

-- 0006-damage-and-holds
create table "damaged_blob" (
  "digest" text primary key,
  "problem" text not null,
  "detail" text not null,
  "found_at" bigint not null,
  "checks" integer not null,
  "check_at" bigint not null
);
create table "damaged_manifest" (
  "manifest_id" integer primary key,
  "problem" text not null,
  "found_at" bigint not null
);
create table "collection_hold" (
  "id" text primary key,
  "reason" text not null,
  "created_at" bigint not null,
  "held_until" bigint not null
);

-- 0008-usage
create table "project_blob" (
  "project_id" integer not null,
  "digest" text not null,
  "size" bigint not null,
  "links" integer not null,
  constraint "project_blob_pk" primary key ("project_id", "digest")
);
create table "project_usage" (
  "project_id" integer not null,
  "stripe" integer not null,
  "bytes" bigint not null,
  "repositories" bigint not null,
  "tags" bigint not null,
  "changes" bigint not null,
  constraint "project_usage_pk" primary key ("project_id", "stripe")
);
create table "project_quota" (
  "project_id" integer primary key,
  "bytes" bigint,
  "repositories" bigint,
  "tags" bigint,
  "version" integer not null
);
create table "quota_reservation" (
  "id" text primary key,
  "project_id" integer not null,
  "kept" bigint not null,
  "bytes" bigint not null,
  "repositories" bigint not null,
  "tags" bigint not null,
  "holder" text not null,
  "expires_at" bigint not null
);
create index "quota_reservation_project" on "quota_reservation" ("project_id");
create table "quota_alert" (
  "project_id" integer not null,
  "quota" text not null,
  "level" text not null,
  "told_at" bigint not null,
  constraint "quota_alert_pk" primary key ("project_id", "quota", "level")
);
INSERT INTO project_blob (project_id, digest, size, links)
          SELECT repository.project_id, blob.digest, max(blob.size), count(*) FROM repository_blob AS blob
          JOIN repository ON repository.id = blob.repository_id GROUP BY repository.project_id, blob.digest;
INSERT INTO project_usage (project_id, stripe, bytes, repositories, tags, changes) SELECT id, 0,
          coalesce((SELECT sum(size) FROM project_blob WHERE project_id = project.id), 0) +
            coalesce((SELECT sum(manifest.size) FROM manifest JOIN repository ON repository.id = manifest.repository_id
                      WHERE repository.project_id = project.id), 0),
          (SELECT count(*) FROM repository WHERE project_id = project.id AND deleted_at IS NULL),
          (SELECT count(*) FROM tag JOIN repository ON repository.id = tag.repository_id WHERE repository.project_id = project.id), 1
          FROM project;

-- 0009-pulls
create table "tag_pull" (
  "repository_id" integer not null,
  "name" text not null,
  "last_at" bigint not null,
  "pulls" bigint not null,
  constraint "tag_pull_pk" primary key ("repository_id", "name")
);
create table "manifest_pull" (
  "repository_id" integer not null,
  "digest" text not null,
  "last_at" bigint not null,
  "digest_at" bigint,
  "pulls" bigint not null,
  constraint "manifest_pull_pk" primary key ("repository_id", "digest")
);

-- 0005-immutability
create table "immutability_rule" (
  "id" integer primary key autoincrement,
  "project_id" integer,
  "name" text not null,
  "description" text not null,
  "selector" text not null,
  "enabled" integer not null,
  "created_at" bigint not null,
  "created_by" text not null,
  "version" integer not null
);
create index "immutability_rule_project" on "immutability_rule" ("project_id", "name");
create table "immutability_state" (
  "id" integer primary key,
  "version" text not null
);

-- 0008-trash
create table "trash_item" (
  "id" integer primary key autoincrement,
  "project_id" integer not null,
  "repository_id" integer not null,
  "repository" text not null,
  "kind" text not null,
  "name" text not null,
  "digest" text,
  "media_type" text,
  "artifact_type" text,
  "size" bigint not null,
  "with_id" integer,
  "job_id" integer,
  "problem" text,
  "deleted_at" bigint not null,
  "deleted_by" text not null
);
create index "trash_item_project" on "trash_item" ("project_id", "id");
create index "trash_item_repository" on "trash_item" ("repository_id", "kind", "name", "id");
create index "trash_item_with" on "trash_item" ("with_id", "kind", "name");
create table "trash_manifest" (
  "item_id" integer primary key references "trash_item" ("id"),
  "manifest_id" integer not null,
  "repository_id" integer not null,
  "digest" text not null,
  "media_type" text not null,
  "size" bigint not null,
  "content_size" bigint not null,
  "artifact_type" text,
  "annotations" text,
  "subject" text,
  "created_at" bigint not null,
  "created_by" text not null,
  constraint "trash_manifest_digest" unique ("repository_id", "digest")
);
create table "trash_content" (
  "item_id" integer primary key references "trash_item" ("id"),
  "bytes" blob not null
);
create table "trash_reference" (
  "item_id" integer not null references "trash_item" ("id"),
  "repository_id" integer not null,
  "digest" text not null,
  "kind" text not null,
  constraint "trash_reference_pk" primary key ("item_id", "digest", "kind")
);
create index "trash_reference_digest" on "trash_reference" ("repository_id", "digest", "kind");
alter table "project" add column "trash_days" integer;

-- 0009-tag-history-cursor
create table "tag_history_cursor" (
  "id" integer primary key,
  "position" bigint not null
);

-- 0010-project-keys
alter table "project" add column "encryption_key" text;
create index "project_encryption_key" on "project" ("encryption_key", "id") where "encryption_key" is not null;
create table "blob_key_due" (
  "digest" text primary key,
  "version" bigint not null,
  "due_at" bigint not null
);
create index "blob_key_due_at" on "blob_key_due" ("due_at", "digest");

-- 0001-encryption
create table "data_key" (
  "id" text primary key,
  "provider" text not null,
  "version" text not null,
  "wrapped" text not null,
  "digest" text,
  "size" bigint,
  "placed" integer not null,
  "look_at" bigint,
  "copied" integer not null,
  "created_at" bigint not null
);
create index "data_key_digest" on "data_key" ("digest");
create index "data_key_version" on "data_key" ("provider", "version", "id");
create index "data_key_look" on "data_key" ("look_at");
create index "data_key_copied" on "data_key" ("copied", "placed");
create table "encrypted_upload" (
  "id" text primary key,
  "key_id" text not null,
  "writer" text not null,
  "tail_record" bigint not null,
  "tail" blob,
  "closed_records" bigint,
  "updated_at" bigint not null
);
create index "encrypted_upload_age" on "encrypted_upload" ("updated_at");
create table "encrypted_segment" (
  "upload_id" text not null,
  "start" bigint not null,
  "salt" blob not null,
  constraint "encrypted_segment_pk" primary key ("upload_id", "start")
);
create table "encryption_mark" (
  "name" text primary key,
  "at" bigint not null
);

-- 0002-tiers
create table "blob_tier" (
  "digest" text primary key,
  "tier" text not null,
  "since" bigint not null,
  "bytes" bigint not null,
  "sha256" text,
  "leftover" text,
  "leftover_at" bigint,
  "owner" text,
  "owner_until" bigint,
  "task" text,
  "wanted" integer not null,
  "restore_at" bigint
);
create index "blob_tier_place" on "blob_tier" ("tier", "digest", "bytes");
create index "blob_tier_leftover" on "blob_tier" ("leftover_at");

-- 0003-key-wrappings
create table "key_wrapping" (
  "key_id" text not null,
  "name" text not null,
  "provider" text not null,
  "version" text not null,
  "wrapped" text not null,
  constraint "key_wrapping_pk" primary key ("key_id", "name")
);
create index "key_wrapping_version" on "key_wrapping" ("name", "provider", "version", "key_id");

-- 0001-access
create table "user" (
  "id" integer primary key autoincrement,
  "name" text not null unique,
  "password_hash" text not null,
  "admin" integer not null,
  "disabled" integer not null,
  "generation" integer not null,
  "created_at" bigint not null
);
create table "project_member" (
  "project_id" integer not null references "project" ("id"),
  "user_id" integer not null references "user" ("id"),
  "role" text not null,
  constraint "project_member_pk" primary key ("project_id", "user_id")
);

-- 0002-roles
alter table "user" add column "email" text default '' not null;
alter table "user" add column "full_name" text default '' not null;
alter table "user" add column "version" integer default 1 not null;
create table "user_group" (
  "id" integer primary key autoincrement,
  "name" text not null unique,
  "description" text not null,
  "created_at" bigint not null,
  "version" integer not null
);
create table "group_member" (
  "group_id" integer not null references "user_group" ("id"),
  "user_id" integer not null references "user" ("id"),
  "source" text not null,
  constraint "group_member_pk" primary key ("user_id", "group_id", "source")
);
create index "group_member_group" on "group_member" ("group_id", "user_id");
create table "role" (
  "name" text primary key,
  "description" text not null,
  "permissions" text not null,
  "created_at" bigint not null,
  "version" integer not null
);
create table "role_assignment" (
  "id" integer primary key autoincrement,
  "subject_kind" text not null,
  "subject_id" integer not null,
  "role" text,
  "permissions" text,
  "project_id" integer references "project" ("id"),
  "pattern" text,
  "created_at" bigint not null,
  "created_by" text not null
);
create index "role_assignment_subject" on "role_assignment" ("subject_kind", "subject_id", "project_id");
create index "role_assignment_project" on "role_assignment" ("project_id", "id");
INSERT INTO role_assignment (subject_kind, subject_id, role, project_id, created_at, created_by)
            SELECT 'user', user_id, role, project_id, 0, 'migration' FROM project_member;
drop table "project_member";
INSERT INTO role_assignment (subject_kind, subject_id, role, created_at, created_by)
            SELECT 'user', id, 'system-admin', 0, 'migration' FROM "user" WHERE admin = 1;
alter table "user" drop column "admin";
create table "access_state" (
  "id" integer primary key,
  "version" bigint not null
);
INSERT INTO access_state (id, version) VALUES (1, 1);

-- 0004-policies
create table "policy" (
  "id" integer primary key autoincrement,
  "name" text not null unique,
  "description" text not null,
  "document" text not null,
  "created_at" bigint not null,
  "created_by" text not null,
  "version" integer not null
);
create table "policy_attachment" (
  "policy_id" integer not null references "policy" ("id"),
  "subject_kind" text not null,
  "subject_id" integer not null,
  "created_at" bigint not null,
  "created_by" text not null,
  constraint "policy_attachment_pk" primary key ("subject_kind", "subject_id", "policy_id")
);
create index "policy_attachment_policy" on "policy_attachment" ("policy_id", "subject_kind", "subject_id");

-- 0003-assignments-by-role
create index "role_assignment_role" on "role_assignment" ("role", "project_id");

-- 0001-sessions
create table "session" (
  "id" integer primary key autoincrement,
  "hash" text not null unique,
  "user_id" integer not null references "user" ("id"),
  "generation" integer not null,
  "provider" text not null,
  "created_at" bigint not null,
  "last_seen_at" bigint not null,
  "expires_at" bigint not null,
  "client" text not null,
  "user_agent" text not null
);
create index "session_user" on "session" ("user_id", "id");
create index "session_expiry" on "session" ("expires_at");

-- 0001-accounts
create index "user_created" on "user" ("created_at", "id");
create table "password_history" (
  "user_id" integer not null references "user" ("id"),
  "replaced_at" bigint not null,
  "hash" text not null
);
create index "password_history_user" on "password_history" ("user_id", "replaced_at");

-- 0001-login-failures
create table "login_failure" (
  "key" text primary key,
  "level" double precision not null,
  "last_at" bigint not null,
  "guesses" text not null
);
create index "login_failure_age" on "login_failure" ("last_at");
create table "login_source" (
  "user_id" integer not null references "user" ("id"),
  "source" text not null,
  "last_at" bigint not null,
  constraint "login_source_pk" primary key ("user_id", "source")
);

-- 0001-second-factor
create table "totp" (
  "user_id" integer primary key references "user" ("id"),
  "seed" text not null,
  "confirmed" integer not null,
  "last_step" bigint not null,
  "created_at" bigint not null
);
create table "recovery_code" (
  "user_id" integer not null references "user" ("id"),
  "hash" text not null,
  constraint "recovery_code_pk" primary key ("user_id", "hash")
);

-- 0001-passkeys
create table "passkey" (
  "id" integer primary key autoincrement,
  "user_id" integer not null references "user" ("id"),
  "credential_id" text not null unique,
  "public_key" text not null,
  "counter" bigint not null,
  "transports" text not null,
  "name" text not null,
  "created_at" bigint not null,
  "last_used_at" bigint
);
create index "passkey_user" on "passkey" ("user_id", "id");
create table "spent_challenge" (
  "challenge" text primary key,
  "expires_at" bigint not null
);
create index "spent_challenge_age" on "spent_challenge" ("expires_at");

-- 0001-machines
create table "robot" (
  "id" integer primary key autoincrement,
  "name" text not null unique,
  "project_id" integer references "project" ("id"),
  "description" text not null,
  "disabled" integer not null,
  "expires_at" bigint,
  "generation" integer not null,
  "created_at" bigint not null,
  "created_by" text not null,
  "version" integer not null
);
create index "robot_project" on "robot" ("project_id", "name");
create table "access_key" (
  "id" integer primary key autoincrement,
  "owner_kind" text not null,
  "owner_id" integer not null,
  "name" text not null,
  "limits" text,
  "expires_at" bigint,
  "created_at" bigint not null,
  "version" integer not null,
  constraint "access_key_name" unique ("owner_kind", "owner_id", "name")
);
create table "access_key_secret" (
  "key_id" integer not null references "access_key" ("id"),
  "number" integer not null,
  "hash" text not null unique,
  "created_at" bigint not null,
  "ends_at" bigint,
  "last_used_at" bigint,
  "last_used_from" text,
  constraint "access_key_secret_pk" primary key ("key_id", "number")
);

-- 0002-workloads
create table "trust_rule" (
  "id" integer primary key autoincrement,
  "robot_id" integer not null references "robot" ("id"),
  "name" text not null,
  "issuer" text not null,
  "audience" text not null,
  "jwks" text,
  "condition" text not null,
  "disabled" integer not null,
  "created_at" bigint not null,
  "created_by" text not null,
  "version" integer not null,
  constraint "trust_rule_name" unique ("robot_id", "name")
);
create index "trust_rule_issuer" on "trust_rule" ("issuer", "id");
create table "robot_key" (
  "id" integer primary key autoincrement,
  "robot_id" integer not null references "robot" ("id"),
  "kid" text not null unique,
  "jwk" text not null,
  "audience" text not null,
  "expires_at" bigint,
  "created_at" bigint not null,
  "created_by" text not null
);
create index "robot_key_robot" on "robot_key" ("robot_id", "id");

-- 0001-identity-providers
create table "identity_provider" (
  "id" integer primary key autoincrement,
  "name" text not null unique,
  "kind" text not null,
  "settings" text not null,
  "secret" text,
  "enabled" integer not null,
  "created_at" bigint not null,
  "created_by" text not null,
  "version" integer not null
);
create table "identity_link" (
  "provider_id" integer not null references "identity_provider" ("id"),
  "subject" text not null,
  "user_id" integer not null references "user" ("id"),
  "created_at" bigint not null,
  "last_login_at" bigint,
  constraint "identity_link_pk" primary key ("provider_id", "subject")
);
create index "identity_link_user" on "identity_link" ("user_id", "provider_id");
create table "oidc_login" (
  "hash" text primary key,
  "expires_at" bigint not null
);
create index "oidc_login_expiry" on "oidc_login" ("expires_at");
create table "oidc_hint" (
  "session_id" integer primary key,
  "provider_id" integer not null,
  "hint" text not null
);
create index "group_member_source" on "group_member" ("source", "user_id");
create index "role_assignment_by" on "role_assignment" ("created_by");

-- 0001-jobs
create table "job" (
  "id" integer primary key autoincrement,
  "kind" text not null,
  "unique_key" text,
  "payload" text not null,
  "state" text not null,
  "due_at" bigint,
  "attempts" integer not null,
  "fence" integer not null,
  "holder" text,
  "again" integer not null,
  "cancelled" integer not null,
  "progress" text,
  "result" text,
  "last_error" text,
  "created_at" bigint not null,
  "started_at" bigint,
  "finished_at" bigint,
  constraint "job_key" unique ("kind", "unique_key")
);
create index "job_due" on "job" ("kind", "due_at");
create index "job_finished" on "job" ("state", "finished_at");

-- 0001-outbox
create table "outbox_event" (
  "id" integer primary key autoincrement,
  "topic" text not null,
  "repository" text not null,
  "payload" text not null,
  "created_at" bigint not null
);
create table "outbox_consumer" (
  "name" text primary key,
  "position" bigint not null,
  "seen_at" bigint not null
);

-- 0001-audit
create table "audit_record" (
  "seq" bigint primary key,
  "at" bigint not null,
  "actor" text not null,
  "action" text not null,
  "outcome" text not null,
  "project" text,
  "repository" text,
  "body" text not null,
  "hash" text not null
);
create index "audit_record_project" on "audit_record" ("project", "seq");
create index "audit_record_actor" on "audit_record" ("actor", "seq");
create index "audit_record_action" on "audit_record" ("action", "seq");
create table "audit_head" (
  "id" integer primary key,
  "seq" bigint not null,
  "hash" text not null
);

-- 0001-audit-sinks
create table "audit_sink" (
  "id" integer primary key autoincrement,
  "name" text not null unique,
  "kind" text not null,
  "target" text not null,
  "secrets" text,
  "enabled" integer not null,
  "position" bigint not null,
  "attempts" integer not null,
  "next_at" bigint not null,
  "last_error" text,
  "last_error_at" bigint,
  "last_success_at" bigint,
  "parked_run" integer not null,
  "missed" bigint not null,
  "created_at" bigint not null,
  "created_by" text not null,
  "version" integer not null
);
create table "audit_sink_parked" (
  "sink_id" integer not null references "audit_sink" ("id"),
  "seq" bigint not null,
  "reason" text not null,
  "at" bigint not null,
  constraint "audit_sink_parked_key" primary key ("sink_id", "seq")
);

-- 0002-audit-trail
create index "audit_record_time" on "audit_record" ("at", "seq");
create table "audit_checkpoint" (
  "seq" bigint primary key,
  "at" bigint not null,
  "body" text not null,
  "signature" text not null
);

-- 0003-audit-holds
create table "audit_hold" (
  "id" integer primary key autoincrement,
  "name" text not null,
  "reason" text not null,
  "placed_at" bigint not null,
  "placed_by" text not null,
  "released_at" bigint,
  "released_by" text
);
create index "audit_hold_name" on "audit_hold" ("name", "released_at");

-- 0001-webhooks
create table "webhook" (
  "id" integer primary key autoincrement,
  "project_id" integer references "project" ("id") on delete cascade,
  "name" text not null,
  "url" text not null,
  "format" text not null,
  "events" text not null,
  "repositories" text not null,
  "tags" text not null,
  "secrets" text not null,
  "enabled" integer not null,
  "listens_from" bigint not null,
  "failing_since" bigint,
  "last_success_at" bigint,
  "disabled_reason" text,
  "created_at" bigint not null,
  "created_by" text not null,
  "version" integer not null
);
create index "webhook_project" on "webhook" ("project_id", "name");
create table "webhook_delivery" (
  "id" integer primary key autoincrement,
  "webhook_id" integer not null references "webhook" ("id") on delete cascade,
  "event_id" text not null,
  "repetition" integer not null,
  "event" text not null,
  "format" text not null,
  "body" text not null,
  "state" text not null,
  "attempts" integer not null,
  "next_at" bigint,
  "status" integer,
  "duration_ms" integer,
  "error" text,
  "created_at" bigint not null,
  "attempted_at" bigint,
  constraint "webhook_delivery_event" unique ("webhook_id", "event_id", "repetition")
);
create index "webhook_delivery_log" on "webhook_delivery" ("webhook_id", "id");
create index "webhook_delivery_due" on "webhook_delivery" ("webhook_id", "next_at", "id");
create index "webhook_delivery_next" on "webhook_delivery" ("next_at", "webhook_id");
create index "webhook_delivery_age" on "webhook_delivery" ("created_at");

-- 0002-webhook-pulls
alter table "webhook" add column "hears_pulls" integer default 0 not null;
create index "webhook_hears_pulls" on "webhook" ("hears_pulls", "project_id");

-- 0001-adoption
create table "adoption_run" (
  "id" integer primary key autoincrement,
  "source" text not null,
  "wishes" text not null,
  "cursor" text not null,
  "counts" text not null,
  "started_at" bigint not null,
  "finished_at" bigint
);
create table "adoption_finding" (
  "run_id" integer not null references "adoption_run" ("id"),
  "kind" text not null,
  "repository" text not null,
  "subject" text not null,
  "detail" text not null,
  constraint "adoption_finding_pk" primary key ("run_id", "kind", "repository", "subject")
);

-- 0002-adoption-lease
create table "adoption_lease" (
  "id" integer primary key,
  "holder" text not null,
  "who" text not null,
  "run_id" integer,
  "taken_at" bigint not null,
  "held_until" bigint not null
);

-- 0001-layout
create table "layout_fill" (
  "id" integer primary key,
  "cursor" text not null,
  "done_at" bigint
);

-- 0001-scrub
create table "scrub_pass" (
  "id" integer primary key,
  "number" integer not null,
  "phase" text not null,
  "position" text not null,
  "blobs" bigint not null,
  "bytes" bigint not null,
  "manifests" bigint not null,
  "damaged" bigint not null,
  "orphans" bigint not null,
  "started_at" bigint not null,
  "updated_at" bigint not null,
  "finished_at" bigint,
  "scrubbed_at" bigint
);

-- 0001-retention
create table "retention_policy" (
  "id" integer primary key autoincrement,
  "project_id" integer,
  "name" text not null,
  "description" text not null,
  "enabled" integer not null,
  "projects" text,
  "rules" text not null,
  "uncovered" text not null,
  "untagged_days" integer,
  "schedule" text not null,
  "next_at" bigint,
  "created_at" bigint not null,
  "created_by" text not null,
  "version" integer not null
);
create index "retention_policy_project" on "retention_policy" ("project_id", "name");
create index "retention_policy_due" on "retention_policy" ("next_at");
create table "retention_run" (
  "id" integer primary key autoincrement,
  "policy_id" integer not null,
  "project_id" integer,
  "dry" integer not null,
  "state" text not null,
  "at" bigint not null,
  "started_by" text not null,
  "job_id" integer,
  "position" integer not null,
  "looked_at" bigint not null,
  "kept" bigint not null,
  "deleted" bigint not null,
  "failed" bigint not null,
  "restored" bigint not null,
  "undo" text,
  "error" text,
  "finished_at" bigint
);
create index "retention_run_policy" on "retention_run" ("policy_id", "id");
create table "retention_result" (
  "id" integer primary key autoincrement,
  "run_id" integer not null,
  "repository" text not null,
  "tag" text,
  "digest" text not null,
  "outcome" text not null,
  "reasons" text not null
);
create index "retention_result_run" on "retention_result" ("run_id", "outcome", "id");
create table "manifest_use" (
  "repository_id" integer not null,
  "digest" text not null,
  "source" text not null,
  "seen_at" bigint not null,
  constraint "manifest_use_pk" primary key ("repository_id", "digest", "source")
);
create index "manifest_use_seen" on "manifest_use" ("seen_at");

-- 0001-heat
create table "heat_clock" (
  "id" integer primary key,
  "half_life_ms" bigint not null,
  "at" bigint not null,
  "value" double precision not null
);
create table "blob_heat" (
  "id" integer primary key autoincrement,
  "digest" text not null unique,
  "score" double precision not null,
  "read_score" double precision,
  "read_at" bigint
);
create index "blob_heat_score" on "blob_heat" ("score", "id");
create table "image_heat" (
  "repository_id" integer not null,
  "digest" text not null,
  "score" double precision not null,
  "pulled_at" bigint not null,
  "day" integer not null,
  "day_pulls" bigint not null,
  constraint "image_heat_pk" primary key ("repository_id", "digest")
);
create index "image_heat_score" on "image_heat" ("repository_id", "score", "digest");
create table "access_day" (
  "day" integer primary key,
  "halvings" integer not null
);
create table "blob_access" (
  "day" integer not null,
  "blob_id" integer not null,
  "reads" double precision not null,
  "bytes" bigint not null,
  "pulls" bigint not null,
  constraint "blob_access_pk" primary key ("day", "blob_id")
);
create table "tier_pin" (
  "project_id" integer not null,
  "repository_id" integer not null,
  "created_at" bigint not null,
  "created_by" text not null,
  constraint "tier_pin_pk" primary key ("project_id", "repository_id")
);
create table "tier_run" (
  "id" integer primary key autoincrement,
  "started_by" text not null,
  "started_at" bigint not null,
  "finished_at" bigint,
  "demoted" bigint not null,
  "demoted_bytes" bigint not null,
  "promoted" bigint not null,
  "promoted_bytes" bigint not null,
  "failed" bigint not null,
  "reasons" text not null,
  "hot_before" bigint not null,
  "hot_after" bigint not null,
  "error" text
);
create table "tier_state" (
  "id" integer primary key,
  "counted_at" bigint not null,
  "hot_blobs" bigint not null,
  "hot_bytes" bigint not null,
  "small_blobs" bigint not null,
  "small_bytes" bigint not null,
  "cold_blobs" bigint not null,
  "cold_bytes" bigint not null,
  "archived_blobs" bigint not null,
  "archived_bytes" bigint not null
);

-- 0002-image-labels
create table "image_label" (
  "digest" text primary key,
  "labels" text not null,
  "read_at" bigint not null
);
create index "image_label_read" on "image_label" ("read_at");

-- 0003-use-expiry
alter table "manifest_use" add column "expires_at" bigint;
create index "manifest_use_source" on "manifest_use" ("repository_id", "source", "digest");

-- 0001-idempotency
create table "idempotency" (
  "key" text primary key,
  "fingerprint" text not null,
  "answer" text not null,
  "created_at" bigint not null
);
create index "idempotency_age" on "idempotency" ("created_at");

-- 0001-installation
create table "installation" (
  "name" text primary key,
  "value" text not null
);

-- 0001-inventory
create table "layer_inventory" (
  "id" integer primary key autoincrement,
  "digest" text not null,
  "format" integer not null,
  "state" text not null,
  "diff_id" text,
  "incomplete" text,
  "components" integer not null,
  "entries" integer not null,
  "bytes" bigint not null,
  "duration_ms" integer not null,
  "created_at" bigint not null,
  "made_at" bigint,
  constraint "layer_inventory_digest" unique ("digest", "format")
);
create index "layer_inventory_format" on "layer_inventory" ("state", "format", "id");
create table "layer_content" (
  "layer_id" integer primary key references "layer_inventory" ("id") on delete cascade,
  "bytes" blob not null
);
create table "component" (
  "id" integer primary key autoincrement,
  "type" text not null,
  "name" text not null,
  "version" text not null,
  "arch" text not null,
  "source_name" text not null,
  "source_version" text not null,
  "modularity" text not null,
  constraint "component_key" unique ("type", "name", "version", "arch", "source_name", "source_version", "modularity")
);
create index "component_source" on "component" ("type", "source_name");
create table "layer_evidence" (
  "id" integer primary key autoincrement,
  "layer_id" integer not null references "layer_inventory" ("id") on delete cascade,
  "path" text not null,
  "inside" text not null,
  "owned" integer not null
);
create index "layer_evidence_layer" on "layer_evidence" ("layer_id", "id");
create table "evidence_component" (
  "evidence_id" integer not null references "layer_evidence" ("id") on delete cascade,
  "component_id" integer not null references "component" ("id"),
  constraint "evidence_component_pk" primary key ("evidence_id", "component_id")
);
create index "evidence_component_component" on "evidence_component" ("component_id", "evidence_id");
create table "image_inventory" (
  "id" integer primary key autoincrement,
  "digest" text not null unique,
  "state" text not null,
  "reason" text,
  "waiting" integer not null,
  "settled" integer not null,
  "os_id" text not null,
  "os_version" text not null,
  "os_name" text not null,
  "components" integer not null,
  "created_at" bigint not null,
  "made_at" bigint
);
create index "image_inventory_settled" on "image_inventory" ("settled", "waiting", "id");
create table "image_layer" (
  "image_id" integer not null references "image_inventory" ("id") on delete cascade,
  "position" integer not null,
  "digest" text not null,
  "layer_id" integer references "layer_inventory" ("id"),
  "problem" text not null,
  constraint "image_layer_pk" primary key ("image_id", "position")
);
create index "image_layer_layer" on "image_layer" ("layer_id", "image_id");
create table "image_exception" (
  "image_id" integer not null references "image_inventory" ("id") on delete cascade,
  "evidence_id" integer not null references "layer_evidence" ("id") on delete cascade,
  constraint "image_exception_pk" primary key ("image_id", "evidence_id")
);
create index "image_exception_evidence" on "image_exception" ("evidence_id");
create table "inventory_cursor" (
  "id" integer primary key,
  "manifest_id" integer not null
);
create index "manifest_everywhere" on "manifest" ("digest", "repository_id");
create index "trash_manifest_everywhere" on "trash_manifest" ("digest");
