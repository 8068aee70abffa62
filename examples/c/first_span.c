/* The drugs of a note: cc first_span.c $(pkg-config --cflags --libs biomistral_nlu) && ./a.out model.gguf */
#include <biomistral_nlu.h>
#include <stdio.h>

int main(int argc, char **argv) {
    const char note[] = "Started metformin 500 mg; aspirin was stopped.", asked[] = "{\"labels\": [\"drug\"]}";
    bmn_str doc = {note, sizeof note - 1};
    bmn_runtime *rt = NULL;
    bmn_model *model = NULL;
    bmn_session *session = NULL;
    bmn_schema *schema = NULL;
    bmn_result *result = NULL;
    bmn_error *err = NULL;
    bmn_span s = {sizeof s, 0, 0, 0, NULL, NULL, 0, 0, 0};
    if (argc < 2 || bmn_runtime_new(NULL, &rt, &err) || bmn_model_open(rt, argv[1], NULL, &model, &err) ||
        bmn_session_new(model, &session, &err) || bmn_schema_from_json(asked, sizeof asked - 1, &schema, &err) ||
        bmn_extract(session, schema, &doc, 1, NULL, &result, NULL, &err))
        return fprintf(stderr, "%s\n", err ? bmn_error_message(err) : "usage: first_span MODEL"), 1;
    for (size_t i = 0; bmn_result_span(result, i, BMN_UNIT_BYTE, &s, NULL) == BMN_OK; ++i)
        printf("%s\t%.*s\t%d-%d\n", s.label, (int)s.text_len, s.text, (int)s.start, (int)s.end);
    return 0; /* a longer-lived program frees what it was given */
}
