-- Files over 8 MiB travel in the parts of an S3 multipart upload; this is its id there.

set role buildpeer_owner;

alter table uploads add column multipart_id text;
grant update (multipart_id) on uploads to buildpeer_app, buildpeer_worker;

reset role;
