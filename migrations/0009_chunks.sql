-- Pieces of files are joined by a function, which the api asks by the outbox: for an upload that its caller has opened
-- and still sees, and for no other. Anything else on a queue stays the worker's.

set role buildpeer_owner;

create policy tenant_assembly on outbox for insert to buildpeer_app with check (
  tenant_id = (select app.tenant_id()) and exists (
    select from uploads u
    where u.tenant_id = outbox.tenant_id
      and u.upload_id = nullif(split_part(outbox.body #>> '{detail,object,key}', '/', 3), '')::uuid
      and u.created_by = (select app.person_id()) and u.state in ('requested', 'receiving', 'stored')
      and outbox.destination = 'buildpeer-assemble-' || u.lane
      and outbox.body ->> 'source' = 'buildpeer.uploads' and outbox.body ->> 'detail-type' = 'Part Wanted'
      and outbox.body #>> '{detail,bucket,name}' = u.bucket and outbox.body #>> '{detail,object,key}' = u.key));

reset role;
