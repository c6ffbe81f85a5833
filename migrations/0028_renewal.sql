-- What derive says of a file may be said anew, all of it.
set role buildpeer_owner;
grant update (content_type, icon, captured_at, captured_from, latitude, longitude, located_from, words) on documents
  to buildpeer_worker;
reset role;
