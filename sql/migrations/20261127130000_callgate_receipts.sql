-- A receipt whose entry is in the ledger already.
-- SPDX-License-Identifier: Apache-2.0
--
-- After the ledger went back to an older standby, an entry may come again before its receipt is
-- written a second time: the flush finds no receipt to mark, and the receipt would wait for ever.

create or replace function callgate.receipt_write(p_company uuid, p_type text, p_amount_micros bigint,
    p_reference text, p_description text, p_asked_by text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  booked bigint;
  booked_by text;
  noted bigint;
  reaches numeric;
begin
  select r.amount_micros, r.entry_id into booked, booked_by
    from callgate.key_read(p_company, p_type, p_reference) r;
  if found then
    update callgate.receipts r set entry_id = booked_by
     where r.company_id = p_company and r.type = p_type and r.reference_id = p_reference
       and r.entry_id is null;
    return case when booked = p_amount_micros then 'posted' else 'key_reused' end;
  end if;
  select r.amount_micros into noted from callgate.receipts r
   where r.company_id = p_company and r.type = p_type and r.reference_id = p_reference;
  if found then
    return case when noted = p_amount_micros then 'replayed' else 'key_reused' end;
  end if;

  select s.posted_micros + p_amount_micros
           + coalesce((select sum(r.amount_micros) from callgate.receipts r
                        where r.company_id = p_company and r.entry_id is null), 0)
    into reaches from callgate.wallet_read(p_company) s;
  if not found then
    return 'no_wallet';
  elsif abs(reaches) > 8000000000000000 then
    return 'out_of_range';
  end if;

  insert into callgate.receipts (company_id, type, reference_id, amount_micros, description, asked_by)
  values (p_company, p_type, p_reference, p_amount_micros, nullif(p_description, ''), nullif(p_asked_by, ''))
  on conflict do nothing;
  if found then
    return 'written';
  end if;
  -- Another one was quicker; or, of a top-up, another company has this payment.
  select r.amount_micros into noted from callgate.receipts r
   where r.company_id = p_company and r.type = p_type and r.reference_id = p_reference;
  return case when found and noted = p_amount_micros then 'replayed' else 'key_reused' end;
end
$$;
