/* The smoking status of a note, with probabilities: classify MODEL */
#include <biomistral_nlu.h>
#include <stdio.h>

int main(int argc, char **argv) {
    const char note[] = "Former smoker, quit in 2010.", asked[] = "{\"classes\": [\"current smoker\", \"past smoker\", \"never smoked\"]}";
    bmn_str doc = {note, sizeof note - 1};
    bmn_runtime *rt = NULL;
    bmn_model *model = NULL;
    bmn_session *session = NULL;
    bmn_schema *schema = NULL;
    bmn_result *result = NULL;
    bmn_error *err = NULL;
    bmn_score score;
    if (argc < 2 || bmn_runtime_new(NULL, &rt, &err) || bmn_model_open(rt, argv[1], NULL, &model, &err) ||
        bmn_session_new(model, &session, &err) || bmn_schema_from_json(asked, sizeof asked - 1, &schema, &err) ||
        bmn_classify(session, schema, &doc, 1, NULL, &result, NULL, &err))
        return fprintf(stderr, "%s\n", err ? bmn_error_message(err) : "usage: classify MODEL"), 1;
    score.struct_size = sizeof score;
    for (size_t i = 0; bmn_result_score(result, i, &score, NULL) == BMN_OK; ++i)
        printf("%.3f\t%s\n", score.probability, score.label);
    printf("answer\t%s\noutside\t%.3f\n", bmn_result_label(result), bmn_result_outside_mass(result));
    bmn_result_free(result);
    bmn_schema_free(schema);
    bmn_session_free(session);
    bmn_model_free(model);
    bmn_runtime_free(rt);
    return 0;
}
