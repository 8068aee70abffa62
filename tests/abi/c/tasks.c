/* All seven tasks on a real model: verbatim spans in all three units, probabilities that add up. Argument: the model. */
#include "check.h"
#include <math.h>

static const char NOTE[] = "\xf0\x9f\x91\xa9 Sj\xc3\xb6gren's syndrome was treated with hydroxychloroquine. Ibuprofen caused a rash.";

/* Units before byte `at`, counted anew. */
static size_t count(const char *text, size_t at, uint32_t unit) {
    size_t i, n = 0;
    for (i = 0; i < at; ++i) {
        unsigned char c = (unsigned char)text[i];
        if ((c & 0xc0) != 0x80)
            n += unit == BMN_UNIT_UTF16 && c >= 0xf0 ? 2 : 1;
    }
    return unit == BMN_UNIT_BYTE ? at : n;
}

static void spans_are_verbatim(const bmn_result *r) {
    size_t i, j;
    uint32_t unit;
    for (i = 0; i < bmn_result_span_count(r); ++i) {
        bmn_span s;
        s.struct_size = sizeof s;
        OK(bmn_result_span(r, i, BMN_UNIT_BYTE, &s, err));
        CHECK(s.id == i && s.end <= strlen(NOTE) && s.end - s.start == s.text_len);
        CHECK(memcmp(NOTE + s.start, s.text, (size_t)s.text_len) == 0 && s.text[s.text_len] == 0);
        for (unit = 0; unit < 3; ++unit) {
            bmn_span u;
            u.struct_size = sizeof u;
            OK(bmn_result_span(r, i, unit, &u, err));
            CHECK(u.start == count(NOTE, (size_t)s.start, unit) && u.end == count(NOTE, (size_t)s.end, unit));
        }
        for (j = 0; j < bmn_result_occurrence_count(r, i); ++j) {
            uint64_t start, end;
            OK(bmn_result_occurrence(r, i, j, BMN_UNIT_BYTE, &start, &end, err));
            CHECK(end - start == s.text_len && memcmp(NOTE + start, s.text, (size_t)s.text_len) == 0);
        }
    }
}

/* The document's own options. */
static void adds_up(const bmn_result *r, size_t options) {
    size_t i, n = 0;
    double sum = 0;
    for (i = 0; i < bmn_result_score_count(r); ++i) {
        bmn_score s;
        s.struct_size = sizeof s;
        OK(bmn_result_score(r, i, &s, err));
        if (s.link_id == BMN_NO_ID) {
            sum += s.probability;
            ++n;
        }
    }
    CHECK(n == options && fabs(sum - 1) < 1e-9);
    CHECK(bmn_result_label(r)[0] != 0 && bmn_result_outside_mass(r) >= 0 && bmn_result_outside_mass(r) <= 1);
}

static int32_t stop_at_once(void *user_data, uint64_t done, uint64_t of) {
    CHECK(done <= of);
    ++*(int *)user_data;
    return 1;
}

int main(int argc, char **argv) {
    bmn_runtime *rt = NULL;
    bmn_model *m = NULL;
    bmn_session *s = NULL;
    bmn_result *r = NULL, *many[3];
    bmn_status statuses[3];
    bmn_str doc = str(NOTE), docs[3], options[3];
    bmn_relate_doc rd;
    bmn_mention mentions[2];
    bmn_question q;
    bmn_pair pair;
    bmn_run_options o;
    bmn_schema *sc;
    int calls = 0;
    size_t i;
    CHECK(argc == 2);
    OK(bmn_runtime_new(NULL, &rt, err));
    OK(bmn_model_open(rt, argv[1], NULL, &m, err));
    OK(bmn_session_new(m, &s, err));
    sc = schema("{\"labels\": [\"problem\", \"drug\"], \"classes\": [\"rheumatology\", \"cardiology\"],"
                "\"events\": [{\"name\": \"treatment\", \"arguments\": [\"drug\"], \"attributes\": [{\"name\": \"status\", \"values\": [\"past\", \"present\"]}]}],"
                "\"relations\": [{\"name\": \"causes\", \"head\": [\"drug\"], \"tail\": [\"problem\"]}]}");

    OK(bmn_extract(s, sc, &doc, 1, NULL, &r, NULL, err));
    spans_are_verbatim(r);
    CHECK(bmn_result_score_count(r) == 2);
    CHECK(strstr(bmn_result_json(r, BMN_UNIT_UTF16), "\"unit\":\"utf16\"") != NULL);
    CHECK(strstr(bmn_result_json(r, BMN_UNIT_BYTE), "\"unit\":\"byte\"") != NULL);
    CHECK(bmn_result_json(r, BMN_UNIT_BYTE) == bmn_result_json(r, BMN_UNIT_BYTE));
    bmn_result_free(r);

    OK(bmn_events(s, sc, &doc, 1, NULL, &r, NULL, err));
    spans_are_verbatim(r);
    for (i = 0; i < bmn_result_link_count(r); ++i) {
        bmn_link l;
        l.struct_size = sizeof l;
        OK(bmn_result_link(r, i, &l, err));
        CHECK(l.kind == BMN_LINK_ARGUMENT || l.kind == BMN_LINK_ATTRIBUTE);
        CHECK(l.from_id < bmn_result_span_count(r));
        CHECK((l.to_id == BMN_NO_ID) == (l.kind == BMN_LINK_ATTRIBUTE) && (l.value != NULL) == (l.kind == BMN_LINK_ATTRIBUTE));
    }
    bmn_result_free(r);

    OK(bmn_classify(s, sc, &doc, 1, NULL, &r, NULL, err));
    adds_up(r, 2);
    bmn_result_free(r);

    rd.text = doc;
    rd.mentions = mentions;
    rd.n_mentions = 2;
    mentions[0].label = "drug";
    mentions[0].start = (uint64_t)(strstr(NOTE, "Ibuprofen") - NOTE);
    mentions[0].end = mentions[0].start + 9;
    mentions[1].label = "problem";
    mentions[1].start = (uint64_t)(strstr(NOTE, "rash") - NOTE);
    mentions[1].end = mentions[1].start + 4;
    OK(bmn_relate(s, sc, &rd, 1, NULL, &r, NULL, err));
    spans_are_verbatim(r);
    CHECK(bmn_result_span_count(r) == 2 && bmn_result_link_count(r) == 1 && bmn_result_score_count(r) == 2);
    bmn_result_free(r);

    options[0] = str("a viral infection");
    options[1] = str("an autoimmune disease");
    options[2] = str("a fracture");
    q.question = str("What is this?");
    q.context = doc;
    q.options = options;
    q.n_options = 3;
    OK(bmn_answer(s, &q, 1, NULL, &r, NULL, err));
    adds_up(r, 3);
    bmn_result_free(r);

    pair.a = doc;
    pair.b = str("The patient took a drug.");
    OK(bmn_entail(s, &pair, 1, NULL, &r, NULL, err));
    adds_up(r, 3);
    bmn_result_free(r);
    OK(bmn_similar(s, &pair, 1, NULL, &r, NULL, err));
    adds_up(r, 6);
    CHECK(bmn_result_number(r) >= 0 && bmn_result_number(r) <= 5);
    bmn_result_free(r);

    /* A progress callback that stops, and a time limit. */
    for (i = 0; i < 3; ++i)
        docs[i] = doc;
    bmn_run_options_init(&o, sizeof o);
    o.batch = 1;
    o.progress = stop_at_once;
    o.progress_user_data = &calls;
    OK(bmn_extract(s, sc, docs, 3, &o, many, statuses, err));
    CHECK(calls == 1 && statuses[0] == BMN_OK && statuses[1] == BMN_E_CANCELLED && statuses[2] == BMN_E_CANCELLED);
    for (i = 0; i < 3; ++i)
        bmn_result_free(many[i]);
    o.progress = NULL;
    o.timeout_ms = 1;
    OK(bmn_extract(s, sc, docs, 3, &o, many, statuses, err));
    CHECK(statuses[2] == BMN_E_TIMEOUT);
    for (i = 0; i < 3; ++i)
        bmn_result_free(many[i]);

    bmn_schema_free(sc);
    bmn_session_free(s);
    bmn_model_free(m);
    bmn_runtime_free(rt);
    puts("tasks: ok");
    return 0;
}
